import { type Device, zeros } from '../../engine/index.ts'
import type { Model } from '../../model/index.ts'
import type { AdamW } from '../optim/adamW.ts'
import { makeScheme, optimizerStep } from '../schemes.ts'
import type { Settings } from '../settings.ts'

/**
 * Does the optimizer steps of a mini-batch of zeros, for `tuneDevice()` to see what a run is going to do: none of it is run, and what is
 * counted on the host stands as before.
 */
export function dryRun(device: Device, model: Model, optimizer: AdamW, settings: Settings): void {
  const { counter } = device.random
  const { channels, imageSize } = model.config
  const B = Math.ceil(settings.batchSize / settings.accumulate)
  const images = zeros([B, channels, imageSize, imageSize], { device })
  const labels = zeros([B], { device, dtype: 'int32' })
  model.train()
  for (const objective of makeScheme(settings.scheme, model.branches.length).passes.flat()) {
    optimizerStep(model, optimizer, objective, [{ images, labels, share: 1 / settings.accumulate }], 0, settings.maxNorm)
  }
  device.random.counter = counter
}
