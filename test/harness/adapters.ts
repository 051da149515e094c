// Prints the devices that the device suites run on, as JSON: the default one first, then every software driver, lavapipe
// at each subgroup size that its vector width gives.
import { listAdapters } from '#platform'

const found = await listAdapters()
const has = (name: string) => found.some((one) => one.name.includes(name))
const lavapipe = (bits: number) => ({
  label: `lavapipe, subgroups of ${bits / 32}`,
  env: { PARAFORMER_ADAPTER: 'lavapipe', LP_NATIVE_VECTOR_WIDTH: String(bits) },
})
const software = [
  ...(has('llvmpipe') ? [lavapipe(256), lavapipe(128), lavapipe(512)] : []),
  ...(has('swiftshader') ? [{ label: 'swiftshader', env: { PARAFORMER_ADAPTER: 'swiftshader' } }] : []),
]
const hardware = found.filter((one) => !one.software).map(({ name }) => ({ label: name, env: { PARAFORMER_ADAPTER: name } }))
console.log(JSON.stringify([...hardware, ...software]))
