import { bindingDtype, type KernelCase, type KernelEntry, runsOn, type Variant } from '../../kernels/spec.ts'
import { kernelDevice } from './device.ts'
import { type Cover, casesOfFewPipelines, chosenVariants } from './fewPipelines.ts'
import { checkKernel } from './kernel.ts'
import { branchCases, checkBranches, takesBranches } from './kernelBranches.ts'
import { suite } from './suite.ts'

const env = typeof process === 'undefined' ? {} : process.env
/** Whether only variants that use subgroups run, since the others have run on this driver before. */
const subgroupsOnly = env.PARAFORMER_SUBGROUPS_ONLY === '1'
/** `most` on the default device and `few` on another one leave out pipelines; without either every case runs. */
const pipelines = env.PARAFORMER_PIPELINES

const usesSubgroups = (source: string): boolean => /^enable subgroups;/m.test(source)

/** The limits of a kernel suite. */
interface SuiteOptions {
  /** The pipelines that the default device compiles of a variant for other devices, of kernels whose pipelines take seconds each. */
  most?: Cover
}

/**
 * Registers a test for each variant and each case of kernels that the device supports, and runs them. Some cases also run as
 * one dispatch of several branches.
 */
export async function runKernelSuite(
  name: string,
  entries: readonly KernelEntry[],
  { most }: SuiteOptions = {},
): Promise<void> {
  const on = await kernelDevice()
  const { test, run } = suite(`${name} on ${on.summary.name}`)
  for (const entry of entries) {
    const { spec } = entry
    const cases = entry.cases.filter((kase) => !kase.bench)
    for (const kase of cases) {
      const half = spec.bindings.some((binding) => bindingDtype(binding, kase.problem) === 'f16')
      const runs = spec.variants.some((variant) => runsOn(spec, variant, on.capabilities, kase.problem))
      if (!runs && !spec.partial && (on.capabilities.f16 || !half))
        throw new Error(`${spec.name} ${kase.name}: no variant runs on this device`)
    }
    const chosen = chosenVariants(entry, on.capabilities)
    /** Says which pipelines of a variant to compile; undefined means all. */
    const coverOf = ({ name, source }: Variant<any>): Cover | undefined => {
      // The default device runs a variant with more pipelines, unless only this device runs it, which then chooses it.
      if (pipelines === 'few') {
        // Subgroups of 8 run other code than those of 4, and those of 16 the same.
        if (subgroupsOnly && on.capabilities.subgroupMaxSize === 8) return most ? 'one' : 'values'
        if (subgroupsOnly) return most ? 'none' : 'one'
        return chosen.has(name) ? 'values' : most ? 'none' : 'one'
      }
      if (pipelines !== 'most') return undefined
      if (!most) return 'pairs'
      // The other devices run variants with subgroups too.
      if (usesSubgroups(source)) return 'values'
      // Variants for other devices may compile for many seconds.
      return chosen.has(name) ? 'values' : most
    }
    for (const variant of spec.variants) {
      if (subgroupsOnly && !usesSubgroups(variant.source)) continue
      const constantsOf = (kase: KernelCase) => variant.constants?.(kase.problem, on.capabilities) ?? {}
      const runs = cases.filter((kase) => runsOn(spec, variant, on.capabilities, kase.problem))
      const cover = coverOf(variant)
      const supported = cover ? casesOfFewPipelines(runs, constantsOf, cover) : runs
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
