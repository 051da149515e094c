import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import type { TrainingState } from '../../train/run/metadata.ts'

/**
 * Flags of a run of a second: two epochs of 8 mini-batches, with dropout and augmentation, since all randomness must come back.
 */
export const TINY = [
  ...['--dim', '8', '--heads', '1', '--dim-head', '8', '--mlp-dim', '8', '--patch-size', '14', '--branches', '2'],
  ...['--train-images', '64', '--batch-size', '8', '--epochs', '2', '--warmup', '3', '--dropout', '0.2', '--seed', '7'],
  ...['--flip', '--crop-padding', '2', '--mode', 'serial', '--test-images', '50'],
]

function readRun(folder: string) {
  const path = join(folder, 'checkpoint.safetensors')
  return decodeSafetensors(readFileSync(path), path)
}

/** The training state in the checkpoint of a run. */
export function trainingOf(folder: string): TrainingState {
  return JSON.parse(readRun(folder).metadata.training!)
}

/**
 * The lines of a run's metrics without times. Fails unless every line is whole, and every prefix of every step is there once, in order.
 * @param gaps whether steps may be missing
 */
export function metricLines(folder: string, gaps = false): string[] {
  const path = join(folder, 'metrics.jsonl')
  if (!existsSync(path)) return []
  const text = readFileSync(path, 'utf8')
  // The last line may be incomplete while the run writes it.
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n')
  let last = { step: 0, prefix: 0 }
  return lines.slice(0, -1).map((line) => {
    const { imagesPerSecond, time, ...metric } = JSON.parse(line)
    if (metric.split === 'train') {
      const { step, prefix } = metric
      const follows = step === last.step ? prefix === last.prefix + 1 : step === last.step + 1 && prefix === 1
      const later = step > last.step || (step === last.step && prefix > last.prefix)
      if (gaps ? !later : !follows) throw new Error(`${path}: ${step}.${prefix} comes after ${last.step}.${last.prefix}`)
      last = { step, prefix }
    }
    return JSON.stringify(metric)
  })
}

/** The number of mini-batches in the lines of `metricLines`. */
export function stepsIn(lines: readonly string[]): number {
  return new Set(lines.map((line) => JSON.parse(line)).flatMap(({ split, step }) => (split === 'train' ? [step] : []))).size
}

/** Fails unless the checkpoints of two runs have the same bits in all tensors. @returns the checkpoints */
export function assertSameTensors(folderA: string, folderB: string) {
  const [a, b] = [readRun(folderA), readRun(folderB)]
  if (a.tensors.size < 30 || a.tensors.size !== b.tensors.size)
    throw new Error(`${a.tensors.size} and ${b.tensors.size} tensors`)
  for (const [name, { data }] of a.tensors) {
    const bytes = (view: ArrayBufferView) => Buffer.from(view.buffer, view.byteOffset, view.byteLength)
    if (!bytes(data).equals(bytes(b.tensors.get(name)!.data))) throw new Error(`${name} differs`)
  }
  return [a, b] as const
}

/** Fails unless two runs have the same bits in all tensors, at the same position. */
export function assertSameBits(folderA: string, folderB: string): void {
  const [left, right] = assertSameTensors(folderA, folderB).map(({ metadata }) => {
    const { position, random, steps, history, evaluationDue } = JSON.parse(metadata.training!)
    return JSON.stringify({ position, random, steps, history, evaluationDue })
  })
  if (left !== right) throw new Error(`${left} is not ${right}`)
}
