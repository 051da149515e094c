import type { Device } from '../../engine/index.ts'
import { summarize } from '../../engine/platform/select.ts'
import type { Budget } from '../doBench.ts'
import { expectedOutput } from '../expected.ts'
import { type Operand, operandsOf } from '../operands.ts'
import { type Running, runOurs } from '../ours.ts'
import { normDifference, type Quantiles, quantiles } from '../statistics.ts'
import { shapeOf, type Workload } from '../workloads.ts'
import type { Peer, PeerRun } from './peer.ts'

/** Largest norm-relative difference between two libraries, and of each from float64; gradients pass through more rounding. */
const TOLERANCE = 1e-4
const GRADIENT_TOLERANCE = 1e-3

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
    const values = await compareValues(w, operands, ours, theirs)
    const timing = await alternate(device, ours, theirs, budget)
    if (errors[0] !== undefined) throw new Error(`WebGPU rejected its commands: ${errors[0].trim()}`)
    const ratio = timing.theirs.median / timing.ours.median
    return { workload: w.kind, shape: shapeOf(w), peer: peer.name, ...timing, ratio, ...values }
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

async function compareValues(
  w: Workload,
  operands: Record<string, Operand>,
  ours: Running,
  theirs: PeerRun,
): Promise<Pick<Comparison, 'difference' | 'oursError' | 'theirsError'>> {
  const [mine, other] = [await ours.values(), await theirs.values()]
  let difference = 0
  for (const [name, values] of Object.entries(mine)) {
    if (!other[name]) throw new Error(`it gives no ${name}`)
    const tolerance = w.kind.endsWith('Step') ? GRADIENT_TOLERANCE : TOLERANCE
    difference = Math.max(difference, check(normDifference(other[name], values), tolerance, `${name}, from ours`))
  }
  const expected = expectedOutput(w, operands)
  if (!expected) return { difference }
  return {
    difference,
    oursError: check(normDifference(mine.out!, expected), TOLERANCE, 'ours, from float64'),
    theirsError: check(normDifference(other.out!, expected), TOLERANCE, 'theirs, from float64'),
  }
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
): Promise<Pick<Comparison, 'ours' | 'theirs' | 'rounds'>> {
  const sides = [
    { run: ours.record, done: () => device.synchronize(), samples: [] as number[], runs: 1 },
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
    side.runs = Math.max(1, Math.round(time / 20 / fastest))
  }
  const began = performance.now()
  let rounds = 0
  while (rounds < least || performance.now() - began < 2 * time) {
    for (const side of sides) side.samples.push(await measure(side))
    rounds++
  }
  return { ours: quantiles(sides[0]!.samples), theirs: quantiles(sides[1]!.samples), rounds }
}
