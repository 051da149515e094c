import type { Capabilities, Constants, KernelCase, KernelEntry } from '../../kernels/spec.ts'

interface Pipeline {
  cases: KernelCase[]
  /** The values of its constants, each as `name=value`, or pairs of them. A missing constant has the value `undefined`. */
  covers: string[]
}

/**
 * The pipelines to compile: none, one, those with every value of every constant, the two of them with most values, or those with every pair
 * of values of two constants.
 */
export type Cover = 'none' | 'one' | 'two' | 'values' | 'pairs'

/** The names of the variants that a device chooses for some case of a kernel. */
export function chosenVariants({ spec, cases }: KernelEntry, capabilities: Capabilities): Set<string> {
  const asked = cases.filter((kase) => !kase.bench)
  return new Set(asked.map((kase) => spec.choose?.(capabilities, kase.problem) ?? spec.variants[0]!.name))
}

/** The steps that a problem switches on at run time, as bits of its `flags`: what no constant tells. */
function stepsOf({ problem }: KernelCase): string[] {
  const { flags } = problem as { flags?: unknown }
  if (typeof flags !== 'number') return []
  return Array.from({ length: 32 }, (_, bit) => bit).flatMap((bit) => ((flags >>> bit) & 1 ? [`step ${bit}`] : []))
}

/** The pairs of values, or the only value. */
function pairsOf(values: readonly string[]): string[] {
  if (values.length < 2) return [...values]
  return values.flatMap((value, i) => values.slice(i + 1).map((other) => `${value} ${other}`))
}

/**
 * The cases of a few pipelines, where compiling takes most of the time. The pipelines do not have every combination of values, but some
 * case has each step of `flags`. Cases that differ only at run time, such as in sizes, share a pipeline and all stay.
 */
export function casesOfFewPipelines(
  cases: readonly KernelCase[],
  constantsOf: (kase: KernelCase) => Constants,
  cover: Cover,
): readonly KernelCase[] {
  if (cover === 'none') return []
  const all = cases.map((kase) => ({ kase, constants: constantsOf(kase) }))
  const names = [...new Set(all.flatMap(({ constants }) => Object.keys(constants)))]
  if (names.length === 0 || cases.length === 0) return cases
  const pipelines = new Map<string, Pipeline>()
  for (const { kase, constants } of all) {
    const values = names.map((name) => `${name}=${constants[name]}`)
    const pipeline = pipelines.get(values.join()) ?? { cases: [], covers: cover === 'pairs' ? pairsOf(values) : values }
    pipelines.set(values.join(), pipeline)
    pipeline.cases.push(kase)
    if (cover !== 'one') pipeline.covers.push(...stepsOf(kase))
  }
  if (cover === 'one') {
    const served = [...pipelines.values()].map((pipeline) => pipeline.cases)
    return served.reduce((most, cases) => (cases.length > most.length ? cases : most))
  }
  const missing = new Set([...pipelines.values()].flatMap(({ covers }) => covers))
  const taken = new Set<KernelCase>()
  const most = cover === 'two' ? 2 : Number.POSITIVE_INFINITY
  for (let i = 0; i < most && missing.size > 0; i++) {
    const gain = ({ covers }: Pipeline) => covers.filter((value) => missing.has(value)).length
    // Among pipelines that add as much, the one with most cases is taken.
    const next = [...pipelines.values()].reduce((best, pipeline) => {
      const more = gain(pipeline) - gain(best)
      return more > 0 || (more === 0 && pipeline.cases.length > best.cases.length) ? pipeline : best
    })
    for (const value of next.covers) missing.delete(value)
    for (const kase of next.cases) taken.add(kase)
  }
  return cases.filter((kase) => taken.has(kase))
}
