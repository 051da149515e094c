import { openDevice } from '#platform'
import { Device } from '../../../engine/index.ts'
import type { ViT } from '../../../model/index.ts'
import { Pipeline, parametersOf } from '../../pipeline/pipeline.ts'
import { medianTimes } from '../compress/latency.ts'
import type { Measures, PipelineShape } from '../plan/define.ts'

/** Numbers of images that pass through a pipeline at a time. */
interface Batches {
  /** Batches of forward passes. */
  batches: readonly number[]
  /** The batch of a training step. */
  trainBatch: number
}

/**
 * Measures a ViT in a pipeline over devices of its adapter: `forwardSeconds1` and the like, images in host memory to logits in host
 * memory, and `stepSeconds` of a training step until all parameters are updated. Medians of several runs.
 * @param onProgress is called with a text for people; an error that it throws ends the measurement
 * @throws UserError when another device cannot be opened
 */
export async function measurePipeline(
  vit: ViT,
  { devices: count, microBatches }: PipelineShape,
  { batches, trainBatch }: Batches,
  onProgress: (label: string) => void,
): Promise<Measures> {
  const { channels, imageSize, classes } = vit.config
  const state = await parametersOf(vit)
  const devices = [vit.device]
  const pipelines: Pipeline[] = []
  const pipeline = (B: number, train: boolean) => {
    const images = new Float32Array(B * channels * imageSize ** 2)
    const labels = Int32Array.from({ length: B }, (_, i) => i % classes)
    const made = new Pipeline(vit, state, devices, { images, labels, microBatches: divisor(B, microBatches), train })
    pipelines.push(made)
    return made
  }
  try {
    while (devices.length < count) {
      const other = new Device(await openDevice(vit.device.request), vit.device.request)
      other.kernels.tuned = vit.device.kernels.tuned
      devices.push(other)
    }
    const passes = batches.map((B) => pipeline(B, false))
    const training = pipeline(trainBatch, true)
    const step = async () => {
      await training.step(1e-4)
      await training.synchronize()
    }
    const times = await medianTimes([...passes.map((pass) => () => pass.forward()), step], () =>
      onProgress('measuring a pipeline'),
    )
    const forward = batches.map((B, i) => [`forwardSeconds${B}`, times[i]! / 1000] as const)
    return { ...Object.fromEntries(forward), stepSeconds: times.at(-1)! / 1000 }
  } finally {
    for (const made of pipelines) made.dispose()
    for (const other of devices.slice(1)) other.destroy()
  }
}

/** Returns the largest divisor of `n` that is at most `limit`. */
function divisor(n: number, limit: number): number {
  for (let d = Math.min(n, limit); d > 1; d--) if (n % d === 0) return d
  return 1
}
