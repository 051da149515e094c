import { type DeviceRequest, defaultDevice } from '../../engine/index.ts'
import { ParaFormer, ViT } from '../../model/index.ts'
import { distributeBranches, type ElsewhereDevice } from '../../train/devices/distribute.ts'
import { replicate } from '../../train/devices/replicate.ts'
import type { StepValues } from '../../train/devices/stepValues.ts'
import { AdamW, makeScheme } from '../../train/index.ts'
import { sizesOf } from '../streams/sizes.ts'
import type { Kind } from './kinds.ts'

/** A training over several devices whose steps can be timed. */
export interface Training {
  /** Branches that live elsewhere, or replicas. */
  elsewhere: number
  parameters: number
  /** Bytes of the rows that a device sends in a step, of branches alone. */
  rows: number
  step(): Promise<{ loss: number; ms: number }>
  close(): Promise<void>
}

type Places = readonly (DeviceRequest | ElsewhereDevice)[]

/** Begins a training on random images, with the same parameters and images each time. */
export async function beginTraining(kind: Kind, preset: string, batch: number, others: Places): Promise<Training> {
  const { paraformer, vit } = sizesOf(preset, {})
  const { channels, imageSize, classes } = paraformer
  defaultDevice().random.seed = 1
  const images = Float32Array.from({ length: batch * channels * imageSize ** 2 }, (_, i) => ((i * 2654435761) >>> 24) / 255)
  const labels = Int32Array.from({ length: batch }, (_, i) => (i * 7) % classes)
  const [objective] = makeScheme('joint', kind === 'branches' ? paraformer.branches : 1).passes[0]!
  const timed = async (updates: () => Promise<StepValues>[]) => {
    const began = performance.now()
    const { losses } = await updates()[0]!
    return { loss: losses[0]!, ms: performance.now() - began }
  }
  const steps = [{ objective: objective!, lr: 1e-3 }]
  if (kind === 'branches') {
    const model = new ParaFormer(paraformer)
    const parameters = model.parameters().reduce((sum, { size }) => sum + size, 0)
    const devices = await distributeBranches(model, { others })
    return {
      elsewhere: devices.workers.reduce((sum, { own }) => sum + own.length, 0),
      parameters,
      rows: 4 * batch * paraformer.dim,
      step: () => timed(() => devices.updates({ images, labels }, steps, { maxNorm: 1 })),
      close: () => devices.close(),
    }
  }
  const model = new ViT(vit)
  const optimizer = new AdamW(model.namedParameters())
  const devices = await replicate(model, { others, optimizer, scheme: 'joint' })
  return {
    elsewhere: devices.workers.length,
    parameters: model.parameters().reduce((sum, { size }) => sum + size, 0),
    rows: 0,
    step: () => timed(() => devices.updates({ images, labels }, steps, { maxNorm: 1 })),
    async close() {
      await devices.close()
      optimizer.dispose()
      model.dispose()
    },
  }
}
