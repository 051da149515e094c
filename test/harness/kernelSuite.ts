import { bindingDtype, type KernelEntry, runsOn } from '../../kernels/spec.ts'
import { kernelDevice } from './device.ts'
import { checkKernel } from './kernel.ts'
import { suite } from './suite.ts'

/** Set where a driver is visited for its subgroup size alone: variants that use no subgroups have run on it before. */
const subgroupsOnly = typeof process !== 'undefined' && process.env.PARAFORMER_SUBGROUPS_ONLY === '1'

/** Registers a test for each case and variant of the kernels that the device supports, and runs them. */
export async function runKernelSuite(name: string, entries: readonly KernelEntry[]): Promise<void> {
  const on = await kernelDevice()
  const { test, run } = suite(`${name} on ${on.summary.name}`)
  for (const entry of entries) {
    for (const kase of entry.cases.filter((one) => !one.bench)) {
      const variants = entry.spec.variants.filter((one) => runsOn(entry.spec, one, on.capabilities, kase.problem))
      const half = entry.spec.bindings.some((binding) => bindingDtype(binding, kase.problem) === 'f16')
      if (variants.length === 0 && (on.capabilities.f16 || !half))
        throw new Error(`${entry.spec.name} ${kase.name}: no variant runs on this device`)
      for (const variant of variants) {
        if (subgroupsOnly && !/\bsubgroup/.test(variant.source)) continue
        test(`${entry.spec.name}/${variant.name} ${kase.name}`, () => checkKernel(on, entry, kase, variant))
      }
    }
  }
  test('ends', () => on.device.destroy())
  run()
}
