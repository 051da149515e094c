import { countFlops, type ParaFormerConfig } from '../../../model/index.ts'
import type { Scores } from './outputs.ts'

/** Confidences at which exits are tried; the first one leaves every image at prefix 1, the last one none before the whole model. */
export const EXIT_THRESHOLDS: readonly number[] = [0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1]

/** Early exit at one threshold. */
export interface Exit {
  threshold: number
  /** Share of images that are classified right. */
  accuracy: number
  /** Mean FLOPs of an image. */
  flops: number
  /** Mean number of branches that run for an image. */
  branches: number
}

/**
 * Returns the FLOPs of an image that leaves at prefix 1 to m. The head runs after every branch, so that an image that leaves at prefix k
 * pays for k heads.
 */
export function exitFlops(config: ParaFormerConfig): number[] {
  const { stem, branch, head } = countFlops(config)
  return Array.from({ length: config.branches }, (_, i) => stem + (i + 1) * (branch + head))
}

/**
 * Lets each image leave at the first prefix whose largest softmax probability is above the threshold, or at the last prefix
 * (arXiv 2106.15183). It takes the scores of the prefixes 1 to m, and no branch runs for it.
 * @param flops FLOPs of an image that leaves at prefix 1 to m
 */
export function exitCurve(
  { images, right, confidence }: Pick<Scores, 'images' | 'right' | 'confidence'>,
  thresholds: readonly number[],
  flops: readonly number[],
): Exit[] {
  return thresholds.map((threshold) => {
    let [hits, cost, branches] = [0, 0, 0]
    for (let i = 0; i < images; i++) {
      let k = 0
      while (k < right.length - 1 && !(confidence[k]![i]! > threshold)) k++
      hits += right[k]![i]!
      cost += flops[k]!
      branches += k + 1
    }
    return { threshold, accuracy: hits / images, flops: cost / images, branches: branches / images }
  })
}
