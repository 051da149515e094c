import { noGrad } from '../../../engine/index.ts'
import type { Mode, ParaFormer } from '../../../model/index.ts'
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
export async function measureLatency(
  model: ParaFormer,
  batches: readonly number[],
  mode: Mode,
  onRound?: (share: number) => void,
): Promise<Latency[]> {
  model.eval()
  const { branches: m, channels, imageSize } = model.config
  const prefixes = Array.from({ length: m }, (_, i) =>
    inference(model, mode, { branches: i + 1, eachBranch: false }, (images, options) => [
      noGrad(() => model.forward(images, options)),
    ]),
  )
  const jobs = prefixes.flatMap((prefix, i) =>
    batches.map((B) => ({ i, B, images: new Float32Array(B * channels * imageSize ** 2), prefix, times: [] as number[] })),
  )
  try {
    // The first run of each job compiles and captures it.
    for (const { prefix, images, B } of jobs) await prefix.run(images, B)
    const start = performance.now()
    for (let round = 1; round <= MAX_ROUNDS; round++) {
      for (const { prefix, images, B, times } of jobs) {
        const before = performance.now()
        await prefix.run(images, B)
        times.push(performance.now() - before)
      }
      const spent = performance.now() - start
      onRound?.(Math.min(1, Math.max(round / MAX_ROUNDS, spent / BUDGET_MS)))
      if (round >= MIN_ROUNDS && spent > BUDGET_MS) break
    }
  } finally {
    for (const prefix of prefixes) prefix.dispose()
  }
  const latencies: Latency[] = prefixes.map(() => ({}))
  for (const { i, B, times } of jobs) latencies[i]![B] = median(times)
  return latencies
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
