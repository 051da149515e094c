import type { Device } from '../../engine/index.ts'
import { summarize } from '../../engine/platform/select.ts'
import type { Budget } from '../doBench.ts'
import { expectedOutput } from '../expected.ts'
import { type Operand, operandsOf } from '../operands.ts'
import { type OurRun, prepareOurs } from '../ours.ts'
import { checkComputed, disposeAll, type Output } from '../outputs.ts'
import { knownDifference, normDifference, type Quantiles, quantiles } from '../statistics.ts'
import { shapeOf, type Workload } from '../workloads.ts'
import type { Peer, PeerRun } from './peer.ts'

/** Largest norm-relative difference between two libraries, and of each from float64. */
const TOLERANCE = 1e-4
/** Largest norm-relative difference of gradients, which are rounded more often. */
const GRADIENT_TOLERANCE = 1e-3
/** Least time of a run in milliseconds, for clocks that are too coarse to see one, as in browsers. */
const LEAST_MS = 1e-3

/** Values by name. */
export type Named = Record<string, ArrayLike<number>>

/** The times of a workload in both libraries, in milliseconds of one run. */
export interface Comparison {
  workload: Workload['kind']
  shape: string
  peer: string
  ours: Quantiles
  theirs: Quantiles
  /** Median of theirs over the median of ours: above 1, ours is faster. */
  ratio: number
  /** Number of rounds; each takes one sample of either library. */
  rounds: number
  /** Largest norm-relative difference of their values from ours. */
  difference: number
  /** Norm-relative differences from float64, where its values are known. */
  oursError?: number
  theirsError?: number
}

/**
 * Compares the values of both libraries, then times them in turn.
 * @throws Error when a library fails, or when values differ
 */
export async function compareOn(device: Device, peer: Peer, w: Workload, budget: Budget): Promise<Comparison> {
  checkAdapter(device, peer)
  const errors: string[] = []
  // Rejected commands would seem very fast where a library ignores their errors.
  const onError = (event: Event) => errors.push((event as GPUUncapturedErrorEvent).error.message)
  peer.device.addEventListener('uncapturederror', onError)
  const operands = operandsOf(w)
  const ours = prepareOurs(device, w, operands)
  let theirs: PeerRun | undefined
  try {
    theirs = await peer.prepare(w, operands)
    const before = [await ours.values(), await theirs.values()] as const
    const differences = compareValues(w, operands, ...before)
    const timing = await alternate(device, ours, theirs, budget, (mine, other) => {
      if (errors[0] !== undefined) throw new Error(`WebGPU rejected its commands: ${errors[0].trim()}`)
      compareLast(w, operands, mine, other)
    })
    if (ours.training) {
      checkMoved('our', before[0], await ours.values())
      checkMoved('its', before[1], await theirs.values())
    }
    const ratio = timing.theirs.median / timing.ours.median
    return { workload: w.kind, shape: shapeOf(w), peer: peer.name, ...timing, ratio, ...differences }
  } finally {
    peer.device.removeEventListener('uncapturederror', onError)
    ours.dispose()
    device.trim()
    theirs?.dispose()
  }
}

/** @throws Error when the libraries run on different adapters */
function checkAdapter({ summary }: Device, { device }: Peer): void {
  const theirs = summarize({ info: device.adapterInfo, features: device.features } as GPUAdapter).name
  if (theirs !== summary.name) throw new Error(`its device is ${theirs}, ours ${summary.name}: nothing to compare`)
}

/**
 * Compares named values of both libraries.
 * @throws Error unless they agree with each other, and with float64 where it is known
 */
export function compareValues(
  w: Workload,
  operands: Record<string, Operand>,
  mine: Named,
  other: Named,
): Pick<Comparison, 'difference' | 'oursError' | 'theirsError'> {
  const tolerance = w.kind.endsWith('Step') ? GRADIENT_TOLERANCE : TOLERANCE
  const differences = Object.entries(mine).map(([name, values]) => {
    if (!other[name]) throw new Error(`it gives no ${name}`)
    return check(normDifference(other[name], values), tolerance, `${name}, from ours`)
  })
  if (differences.length === 0) throw new Error('ours gives nothing to compare')
  return { difference: Math.max(...differences), ...compareOutputs(w, operands, mine.out, other.out) }
}

/** Compares an op's output in both libraries with float64; a step has none. */
function compareOutputs(
  w: Workload,
  operands: Record<string, Operand>,
  mine: ArrayLike<number> | undefined,
  other: ArrayLike<number> | undefined,
): Pick<Comparison, 'oursError' | 'theirsError'> {
  const expected = expectedOutput(w, operands)
  if (!expected) return {}
  if (!mine || !other) throw new Error('an output is missing')
  return {
    oursError: check(knownDifference(mine, expected), TOLERANCE, 'ours, from float64'),
    theirsError: check(knownDifference(other, expected), TOLERANCE, 'theirs, from float64'),
  }
}

/** Compares the values of the last timed runs. @throws Error unless they agree; of steps, unless both are computed */
export function compareLast(
  w: Workload,
  operands: Record<string, Operand>,
  mine: ArrayLike<number>,
  other: ArrayLike<number>,
): void {
  checkComputed([mine, other])
  if (w.kind.endsWith('Step')) return
  check(normDifference(other, mine), TOLERANCE, 'the last timed run, from ours')
  compareOutputs(w, operands, mine, other)
}

/**
 * Compares the values before and after the timed steps. The libraries take different numbers of steps, so those after them cannot be
 * compared with each other.
 * @throws Error when the steps changed nothing
 */
export function checkMoved(whose: 'our' | 'its', before: Named, after: Named): void {
  checkComputed([after.loss!])
  const names = Object.keys(before)
  const still = names.filter((name) => same(after[name]!, before[name]!))
  if (still.length === names.length) throw new Error(`${whose} steps left loss and gradients as they were: they update nothing`)
}

function same(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  return Array.prototype.every.call(a, (value: number, i: number) => value === b[i])
}

function check(difference: number, tolerance: number, what: string): number {
  if (!(difference <= tolerance)) throw new Error(`values differ: ${what}, by ${difference.toExponential(2)}`)
  return difference
}

/** Times both libraries in turn: ours, theirs, ours, theirs. @param confirm checks the values of the last runs */
async function alternate(
  device: Device,
  ours: OurRun,
  theirs: PeerRun,
  { warmup, time, minSamples }: Budget,
  confirm: (ours: ArrayLike<number>, theirs: ArrayLike<number>) => void,
): Promise<Pick<Comparison, 'ours' | 'theirs' | 'rounds'>> {
  let last: readonly Output[] = []
  const runOurs = () => {
    disposeAll(last)
    last = ours.record()
  }
  const sides = [
    { run: runOurs, done: () => device.synchronize(), samples: [] as number[], runs: 1 },
    { run: () => theirs.run(), done: () => theirs.done(), samples: [] as number[], runs: 1 },
  ]
  const measure = async ({ run, done, runs }: (typeof sides)[number]): Promise<number> => {
    const start = performance.now()
    for (let i = 0; i < runs; i++) await run()
    await done()
    return (performance.now() - start) / runs
  }
  // The first run compiles, and the warm-up tells how many runs make a sample. Each side gets half the time of the rounds.
  for (const side of sides) {
    await measure(side)
    const began = performance.now()
    let fastest = Number.POSITIVE_INFINITY
    do fastest = Math.min(fastest, await measure(side))
    while (performance.now() - began < warmup)
    side.runs = Math.max(1, Math.round(time / 20 / Math.max(fastest, LEAST_MS)))
  }
  const began = performance.now()
  let rounds = 0
  while (rounds < minSamples || performance.now() - began < 2 * time) {
    for (const side of sides) side.samples.push(await measure(side))
    rounds++
  }
  confirm(await last[0]!.data(), await theirs.last())
  disposeAll(last)
  return { ours: quantiles(sides[0]!.samples), theirs: quantiles(sides[1]!.samples), rounds }
}
