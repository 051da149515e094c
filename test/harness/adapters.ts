// Prints the devices that the device suites run on, as JSON: the default one first, then every software driver, lavapipe
// at each subgroup size that its vector width gives.
import { listAdapters } from '#platform'

const found = await listAdapters()
const has = (name: string) => found.some((one) => one.name.includes(name))
/** Lavapipe with vectors of so many bits; after the first visit only for what uses subgroups. */
const lavapipe = (bits: number, again: boolean) => ({
  label: `lavapipe, subgroups of ${bits / 32}`,
  subgroupsOnly: again,
  env: {
    PARAFORMER_ADAPTER: 'lavapipe',
    LP_NATIVE_VECTOR_WIDTH: String(bits),
    ...(again && { PARAFORMER_SUBGROUPS_ONLY: '1' }),
  },
})
const software = [
  ...(has('llvmpipe') ? [lavapipe(256, false), lavapipe(128, true), lavapipe(512, true)] : []),
  ...(has('swiftshader') ? [{ label: 'swiftshader', env: { PARAFORMER_ADAPTER: 'swiftshader' } }] : []),
]
const hardware = found.filter((one) => !one.software).map(({ name }) => ({ label: name, env: { PARAFORMER_ADAPTER: name } }))
console.log(JSON.stringify([...hardware, ...software]))
