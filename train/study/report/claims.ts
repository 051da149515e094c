import type { Rule } from '../results/registration.ts'
import { type Comparison, type PairedDifference, pairedDifference, type Verdict, verdicts } from '../statistics/index.ts'
import { metricTitle } from './figure.ts'
import { metricOfRun, type Run } from './record.ts'
import type { StudyRecord } from './studyFolder.ts'

/** Paired seeds below which no verdict is given. */
export const MIN_SEEDS = 5

/** A comparison with what the runs say about it. */
export interface Compared {
  rule: Rule
  /** The metric of each arm. */
  metrics: readonly [string, string]
  /** The arms by name, with their metrics where they are not the study's. */
  sides: readonly [string, string]
  /** Seeds that both arms have. */
  seeds: number[]
  difference: PairedDifference | undefined
  /** The p-value after Holm's correction over the comparisons of the claim. */
  p: number | undefined
  verdict: Verdict
  /** The reason why there is no verdict yet. */
  reason: string | undefined
}

/** A claim with the verdict on all its comparisons. */
export interface Claim {
  claim: string
  /** Whether it was stated after the first run. */
  later: boolean
  verdict: Verdict
  comparisons: Compared[]
}

/** Decides the claims of a study: those that were registered before its runs, then those that were stated later. */
export function decide(study: StudyRecord): Claim[] {
  const { decisionRule = [], metric = 'testAccuracy' } = study.statement
  const decideAll = (rules: readonly Rule[], later: boolean) => {
    const claims = new Map<string, Rule[]>()
    for (const rule of rules) claims.set(rule.claim, [...(claims.get(rule.claim) ?? []), rule])
    return [...claims].map(([claim, rules]): Claim => {
      const comparisons = decideRules(rules, study.runs, metric, study.seeds)
      return { claim, later, verdict: verdictOf(comparisons), comparisons }
    })
  }
  return [...decideAll(decisionRule, false), ...decideAll(study.laterRules, true)]
}

/** Returns the verdict on a claim: it holds when all its comparisons do, and does not when one of them does not. */
function verdictOf(comparisons: readonly Compared[]): Verdict {
  if (comparisons.some(({ verdict }) => verdict === 'not supported')) return 'not supported'
  return comparisons.every(({ verdict }) => verdict === 'supported') ? 'supported' : 'inconclusive'
}

function decideRules(rules: readonly Rule[], runs: readonly Run[], metric: string, seeds?: readonly number[]): Compared[] {
  const found = rules.map((rule) => compare(rule, runs, metric, seeds))
  const decidable = found.flatMap((compared): { compared: Compared; comparison: Comparison }[] => {
    const { rule, difference, reason } = compared
    if (!difference || reason !== undefined) return []
    return [{ compared, comparison: { difference, better: rule.better, margin: rule.margin ?? 0 } }]
  })
  verdicts(decidable.map(({ comparison }) => comparison)).forEach(({ verdict, p }, i) => {
    Object.assign(decidable[i]!.compared, { verdict, p })
  })
  return found
}

function compare(rule: Rule, runs: readonly Run[], metric: string, registered?: readonly number[]): Compared {
  const metrics = metricsOf(rule, metric)
  const named = (i: 0 | 1) => (metrics[i] === metric ? rule.compare[i] : `${rule.compare[i]} (${metricTitle(metrics[i])})`)
  const [a, b] = rule.compare.map((arm, i) => valuesOf(runs, arm, metrics[i]!, registered)) as [
    Map<number, number>,
    Map<number, number>,
  ]
  const seeds = [...a.keys()].filter((seed) => b.has(seed)).sort((x, y) => x - y)
  const pairs = seeds.map((seed) => [a.get(seed)!, b.get(seed)!] as const)
  const finite = pairs.every((pair) => pair.every(Number.isFinite))
  const diverged = runs.filter(
    ({ arm, seed, result }) => rule.compare.includes(arm) && seeds.includes(seed!) && result.diverged !== undefined,
  )
  const { better, margin = 0 } = rule
  const difference =
    seeds.length >= 2 && finite
      ? pairedDifference(
          pairs.map(([value]) => value),
          pairs.map(([, value]) => value),
          { margin: better === 'higher' ? margin : -margin },
        )
      : undefined
  const reason = reasonOf(seeds.length, finite, diverged, registered)
  const sides = [named(0), named(1)] as const
  return { rule, metrics, sides, seeds, difference, p: undefined, verdict: 'inconclusive', reason }
}

/** Returns the metric of each arm of a comparison. @param metric that of the study */
function metricsOf({ metric: own }: Rule, metric: string): readonly [string, string] {
  return typeof own === 'object' ? own : [own ?? metric, own ?? metric]
}

/** Says why paired runs allow no verdict. */
function reasonOf(
  pairs: number,
  finite: boolean,
  diverged: readonly Run[],
  registered?: readonly number[],
): string | undefined {
  // A run that diverged has no score, and leaving it out would flatter its arm.
  if (diverged.length > 0) return `diverged: ${diverged.map(({ arm, seed }) => `${arm} at seed ${seed}`).join(', ')}`
  if (!finite) return 'a run ended in a number that is not finite'
  if (pairs < MIN_SEEDS) return `${pairs} paired ${pairs === 1 ? 'seed' : 'seeds'}; a verdict takes ${MIN_SEEDS}`
  const missing = registered ? registered.length - pairs : 0
  return missing > 0 ? `${missing} of ${registered!.length} registered seeds are not done` : undefined
}

/** Returns the metric of an arm by seed; seeds that were not registered do not count. */
function valuesOf(runs: readonly Run[], arm: string, metric: string, registered?: readonly number[]): Map<number, number> {
  const values = new Map<number, number>()
  for (const run of runs) {
    const value = metricOfRun(run, metric)
    if (run.arm !== arm || run.seed === undefined || value === undefined) continue
    if (!registered || registered.includes(run.seed)) values.set(run.seed, value)
  }
  return values
}
