// Prints as JSON the devices that tests run on, the default one first: GPUs, then lavapipe at each size of subgroups that its
// vector width sets, then SwiftShader. Lavapipe compiles for the narrowest vectors in two thirds of the time, so most runs there.
import { listAdapters } from '#platform'

const found = await listAdapters()
const has = (name: string) => found.some((adapter) => adapter.name.includes(name))
/** Lavapipe at a vector width; with `subgroupsOnly` only variants that use subgroups run there. */
const lavapipe = (bits: number, subgroupsOnly: boolean) => ({
  label: `lavapipe, subgroups of ${bits / 32}`,
  subgroupsOnly,
  env: {
    PARAFORMER_ADAPTER: 'lavapipe',
    LP_NATIVE_VECTOR_WIDTH: String(bits),
    ...(subgroupsOnly && { PARAFORMER_SUBGROUPS_ONLY: '1' }),
  },
})
const software = [
  ...(has('llvmpipe') ? [lavapipe(128, false), lavapipe(256, true), lavapipe(512, true)] : []),
  ...(has('swiftshader') ? [{ label: 'swiftshader', env: { PARAFORMER_ADAPTER: 'swiftshader' } }] : []),
]
const hardware = found
  .filter((adapter) => !adapter.software)
  .map(({ name }) => ({ label: name, env: { PARAFORMER_ADAPTER: name } }))
console.log(JSON.stringify([...hardware, ...software]))
