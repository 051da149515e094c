import { bindingDtype, type KernelCase, type KernelEntry, runsOn } from '../../kernels/spec.ts'
import { kernelDevice } from './device.ts'
import { casesOfFewPipelines } from './fewPipelines.ts'
import { checkKernel } from './kernel.ts'
import { branchCases, checkBranches, takesBranches } from './kernelBranches.ts'
import { suite } from './suite.ts'

const env = typeof process === 'undefined' ? {} : process.env
/** Whether only variants that use subgroups run, since the others have run on this driver before. */
const subgroupsOnly = env.PARAFORMER_SUBGROUPS_ONLY === '1'
/** `few` where another device runs every case; `most` where kernels that are slow to compile leave out combinations of constants. */
const pipelines = env.PARAFORMER_PIPELINES

/**
 * Registers a test for each variant and each case of kernels that the device supports, and runs them. Some cases also run as
 * one dispatch of several branches.
 * @param options.slowToCompile the pipelines take seconds each
 */
export async function runKernelSuite(
  name: string,
  entries: readonly KernelEntry[],
  { slowToCompile = false }: { slowToCompile?: boolean } = {},
): Promise<void> {
  const on = await kernelDevice()
  const { test, run } = suite(`${name} on ${on.summary.name}`)
  for (const entry of entries) {
    const { spec } = entry
    const cases = entry.cases.filter((one) => !one.bench)
    for (const kase of cases) {
      const half = spec.bindings.some((binding) => bindingDtype(binding, kase.problem) === 'f16')
      const runs = spec.variants.some((one) => runsOn(spec, one, on.capabilities, kase.problem))
      if (!runs && (on.capabilities.f16 || !half)) throw new Error(`${spec.name} ${kase.name}: no variant runs on this device`)
    }
    for (const variant of spec.variants) {
      if (subgroupsOnly && !/^enable subgroups;/m.test(variant.source)) continue
      const constantsOf = (kase: KernelCase) => variant.constants?.(kase.problem, on.capabilities) ?? {}
      const runs = cases.filter((kase) => runsOn(spec, variant, on.capabilities, kase.problem))
      const again = spec.variants.find(({ source }) => source === variant.source) !== variant
      const cover = pipelines === 'few' || again ? 'values' : 'pairs'
      const trims = pipelines === 'few' || (pipelines === 'most' && slowToCompile)
      const supported = trims ? casesOfFewPipelines(runs, constantsOf, cover) : runs
      for (const kase of supported)
        test(`${spec.name}/${variant.name} ${kase.name}`, () => checkKernel(on, entry, kase, variant))
      if (!takesBranches(entry)) continue
      const inputs = [undefined, ...spec.bindings.filter(({ access }) => access === 'read').map((binding) => binding.name)]
      for (const [i, kase] of branchCases(on, supported, variant).entries()) {
        const shared = inputs[i % inputs.length]
        test(`${spec.name}/${variant.name} ${kase.name}, branches`, () => checkBranches(on, entry, kase, variant, shared))
      }
    }
  }
  test('ends', () => on.device.destroy())
  run()
}
