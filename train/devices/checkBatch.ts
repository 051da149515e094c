import { checkFunction, checkNumber, refusal } from '../../engine/base/checks.ts'
import type { ModelConfig } from '../../model/index.ts'
import type { LabelledImages } from '../data/microBatch.ts'

/** @throws ArgumentError unless `images` is a Float32Array [count, C, H, W] for a model of this config */
export function checkImages(op: string, images: unknown, count: number, { channels, imageSize }: ModelConfig): void {
  const size = count * channels * imageSize ** 2
  if (images instanceof Float32Array && images.length === size) return
  throw refusal(op, images, `a Float32Array of ${size} numbers, [${count}, ${channels}, ${imageSize}, ${imageSize}]`, 'images')
}

/** @throws ArgumentError unless `batch` has images and labels for a model of this config */
export function checkBatch(op: string, batch: LabelledImages, config: ModelConfig): void {
  const labels: unknown = batch?.labels
  if (!(labels instanceof Int32Array) || labels.length === 0)
    throw refusal(op, labels, 'an Int32Array of at least one class', 'labels')
  checkImages(op, batch.images, labels.length, config)
}

/** @throws ArgumentError unless `steps` is a list of objectives with their learning rates */
export function checkSteps(op: string, steps: unknown): void {
  if (!Array.isArray(steps)) throw refusal(op, steps, 'a list of { objective, lr }', 'steps')
  for (const step of steps) {
    checkFunction(op, step?.objective?.loss, 'the loss of an objective')
    checkNumber(op, step.lr, 'lr')
  }
}
