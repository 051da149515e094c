import type { Device } from '../../engine/index.ts'
import { summarize } from '../../engine/platform/select.ts'
import type { Budget } from '../doBench.ts'
import { expectedOutput } from '../expected.ts'
import { type Operand, operandsOf } from '../operands.ts'
import { type Running, runOurs } from '../ours.ts'
import { checkComputed, disposeAll, type Output } from '../outputs.ts'
import { knownDifference, normDifference, type Quantiles, quantiles } from '../statistics.ts'
import { shapeOf, type Workload } from '../workloads.ts'
import type { Peer, PeerRun } from './peer.ts'

/** Largest norm-relative difference between two libraries, and of each from float64; gradients pass through more rounding. */
const TOLERANCE = 1e-4
const GRADIENT_TOLERANCE = 1e-3
/** Of a run, for clocks (browsers) that see none pass. */
const LEAST_MS = 1e-3

/** Values by name. */
type Named = Record<string, ArrayLike<number>>

/** A workload measured on both, run alternately; milliseconds of one run. */
export interface Comparison {
  workload: Workload['kind']
  shape: string
  peer: string
  ours: Quantiles
  theirs: Quantiles
  /** Median of theirs over that of ours: above 1, ours is faster. */
  ratio: number
  /** Rounds of one sample each. */
  rounds: number
  /** Largest norm-relative difference of their values from ours, and of each from float64 where that is known. */
  difference: number
  oursError?: number
  theirsError?: number
}

/**
 * Compares the values of both, then times them in turn: ours, theirs, ours, theirs.
 * @throws Error when a library fails, or their values differ
 */
export async function compareOn(device: Device, peer: Peer, w: Workload, budget: Budget): Promise<Comparison> {
  checkAdapter(device, peer)
  const errors: string[] = []
  // A library that does not look lets rejected commands pass as very fast ones.
  const onError = (event: Event) => errors.push((event as GPUUncapturedErrorEvent).error.message)
  peer.device.addEventListener('uncapturederror', onError)
  const operands = operandsOf(w)
  const ours = runOurs(device, w, operands)
  let theirs: PeerRun | undefined
  try {
    theirs = await peer.prepare(w, operands)
    const before = [await ours.values(), await theirs.values()] as const
    const differences = compareValues(w, operands, ...before)
    const timing = await alternate(device, ours, theirs, budget, (mine, other) => {
      if (errors[0] !== undefined) throw new Error(`WebGPU rejected its commands: ${errors[0].trim()}`)
      compareLast(w, operands, mine, other)
    })
    if (ours.training) await checkMoved(ours, theirs, before)
    const ratio = timing.theirs.median / timing.ours.median
    return { workload: w.kind, shape: shapeOf(w), peer: peer.name, ...timing, ratio, ...differences }
  } finally {
    peer.device.removeEventListener('uncapturederror', onError)
    ours.dispose()
    device.trim()
    theirs?.dispose()
  }
}

/** @throws Error when the two run on different adapters */
function checkAdapter({ summary }: Device, { device }: Peer): void {
  const theirs = summarize({ info: device.adapterInfo, features: device.features } as GPUAdapter).name
  if (theirs !== summary.name) throw new Error(`its device is ${theirs}, ours ${summary.name}: nothing to compare`)
}

/** @throws Error unless both give the same, and what float64 gives where that is known */
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

/** Of an op: how far both are from float64. */
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

/** Looks at what the last timed runs gave. @throws Error unless both computed it */
function compareLast(w: Workload, operands: Record<string, Operand>, mine: ArrayLike<number>, other: ArrayLike<number>): void {
  checkComputed([mine, other])
  if (w.kind.endsWith('Step')) return
  check(normDifference(other, mine), TOLERANCE, 'the last timed run, from ours')
  compareOutputs(w, operands, mine, other)
}

/** @throws Error unless the timed steps changed something: both take other numbers of steps, so that nothing more is known */
async function checkMoved(ours: Running, theirs: PeerRun, before: readonly [Named, Named]): Promise<void> {
  for (const [i, run] of [ours, theirs].entries()) {
    const after = await run.values()
    checkComputed([after.loss!])
    const moved = Object.entries(after).some(([name, values]) => !same(values, before[i]![name]!))
    if (!moved) throw new Error(`${i === 0 ? 'our' : 'its'} steps left loss and gradients as they were: they update nothing`)
  }
}

function same(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  return Array.prototype.every.call(a, (value: number, i: number) => value === b[i])
}

function check(difference: number, tolerance: number, what: string): number {
  if (!(difference <= tolerance)) throw new Error(`values differ: ${what}, by ${difference.toExponential(2)}`)
  return difference
}

async function alternate(
  device: Device,
  ours: Running,
  theirs: PeerRun,
  { warmup, time, least }: Budget,
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
  // Compiles, and tells how many runs make a sample; rounds share the time between both.
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
  while (rounds < least || performance.now() - began < 2 * time) {
    for (const side of sides) side.samples.push(await measure(side))
    rounds++
  }
  confirm(await last[0]!.data(), await theirs.last())
  disposeAll(last)
  return { ours: quantiles(sides[0]!.samples), theirs: quantiles(sides[1]!.samples), rounds }
}
