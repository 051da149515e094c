import { noGrad } from '../../../engine/index.ts'
import { branchShape, type Mode, type Model, type ParaFormer } from '../../../model/index.ts'
import type { BranchDevices } from '../../devices/branchDevices.ts'
import { inference } from '../../inference.ts'

/** The least and the largest number of rounds, and the milliseconds that are filled with rounds between the two. */
const [MIN_ROUNDS, MAX_ROUNDS, BUDGET_MS] = [5, 30, 10_000]

/** Median milliseconds by the number of images in a batch. */
export type Latency = Record<number, number>

/**
 * Measures the latency of every prefix: images in host memory to logits in host memory, median of several runs. In each round every
 * prefix runs once at each batch size, so that a slow moment of the machine is shared by all.
 * @param batches numbers of images in a batch
 * @param onRound is called after each round with the share of the measurement that is done
 * @returns the latency of prefix 1 to m
 */
export function measureLatency(
  model: ParaFormer,
  batches: readonly number[],
  mode: Mode,
  onRound?: (share: number) => void,
): Promise<Latency[]> {
  const prefixes = Array.from({ length: model.config.branches }, (_, i) => i + 1)
  return timed(model, prefixes, batches, mode, onRound)
}

/**
 * Measures the latency of a whole model: images in host memory to logits in host memory, median of several runs.
 * @param how the mode in which the branches run, or the devices on which they live
 */
export async function measureForward(
  model: Model,
  batches: readonly number[],
  how: Mode | BranchDevices,
  onRound?: (share: number) => void,
): Promise<Latency> {
  const [latency] = await timed(model, [branchShape(model.config).branches], batches, how, onRound)
  return latency!
}

/** Measures some prefixes of a model in turn. */
async function timed(
  model: Model,
  prefixes: readonly number[],
  batches: readonly number[],
  how: Mode | BranchDevices,
  onRound?: (share: number) => void,
): Promise<Latency[]> {
  model.eval()
  const { channels, imageSize } = model.config
  const passes = prefixes.map((branches) =>
    inference(model, how, { branches, eachBranch: false }, (images, options) => [noGrad(() => model.forward(images, options))]),
  )
  const jobs = passes.flatMap((pass, i) =>
    batches.map((B) => {
      const images = new Float32Array(B * channels * imageSize ** 2)
      return { i, B, run: () => pass.run(images, B) }
    }),
  )
  try {
    const times = await medianTimes(
      jobs.map(({ run }) => run),
      onRound,
    )
    const latencies: Latency[] = prefixes.map(() => ({}))
    for (const [j, { i, B }] of jobs.entries()) latencies[i]![B] = times[j]!
    return latencies
  } finally {
    for (const pass of passes) pass.dispose()
  }
}

/**
 * Times jobs in rounds, in each of which every job runs once. The first round, which compiles and captures, does not count.
 * @param onRound is called after each round with the share of the measurement that is done
 * @returns the median milliseconds of each job
 */
export async function medianTimes(
  jobs: readonly (() => Promise<unknown>)[],
  onRound?: (share: number) => void,
): Promise<number[]> {
  for (const job of jobs) await job()
  const times = jobs.map((): number[] => [])
  const start = performance.now()
  for (let round = 1; round <= MAX_ROUNDS; round++) {
    for (const [i, job] of jobs.entries()) {
      const before = performance.now()
      await job()
      times[i]!.push(performance.now() - before)
    }
    const spent = performance.now() - start
    onRound?.(Math.min(1, Math.max(round / MAX_ROUNDS, spent / BUDGET_MS)))
    if (round >= MIN_ROUNDS && spent > BUDGET_MS) break
  }
  return times.map(median)
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
