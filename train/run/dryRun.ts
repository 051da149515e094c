import { type Device, zeros } from '../../engine/index.ts'
import { branchShape, type Model } from '../../model/index.ts'
import { inputShape } from '../modelInput.ts'
import type { Optimizer } from '../optim/optimizer.ts'
import { instantiate, optimizerStep, type SchemeDefinition } from '../schemes/index.ts'
import type { Settings } from '../settings.ts'

/**
 * Takes the optimizer steps of a mini-batch of zeros, so that `tuneDevice()` sees the dispatches of a run. It runs none of them, and
 * the random state on the host stays as it is.
 */
export function dryRun(device: Device, model: Model, optimizer: Optimizer, settings: Settings, scheme: SchemeDefinition): void {
  const { counter } = device.random
  const B = Math.ceil(settings.batchSize / settings.accumulate)
  const images = zeros(inputShape(model.config, B), { device })
  const labels = zeros([B], { device, dtype: 'int32' })
  model.train()
  for (const objective of instantiate(scheme, branchShape(model.config).branches).passes.flat()) {
    optimizerStep(model, optimizer, objective, [{ images, labels, share: 1 / settings.accumulate }], 0, settings.maxNorm)
  }
  device.random.counter = counter
}
