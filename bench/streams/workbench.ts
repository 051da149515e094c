import { type Device, noGrad, tensor } from '../../engine/index.ts'
import { type Mode, ParaFormer, ViT } from '../../model/index.ts'
import type { LabelledImages } from '../../train/data/microBatch.ts'
import type { BranchDevices } from '../../train/devices/branchDevices.ts'
import { distributeBranches } from '../../train/devices/distribute.ts'
import type { LocalBranchWorker } from '../../train/devices/localBranchWorker.ts'
import { AdamW, type MicroBatch, optimizerStep } from '../../train/index.ts'
import { parametersOf } from '../../train/pipeline/pipeline.ts'
import { MAX_NORM, type Values, ZERO_LR } from './candidate.ts'
import { lastObjective, type Resident } from './oneDevice.ts'
import type { Sizes } from './sizes.ts'

/** The models to compare, on one device. */
export interface Models {
  device: Device
  sizes: Sizes
  paraformer: Resident
  vit: Resident & { model: ViT }
}

/** A copy of the ParaFormer with its branches on several devices. */
export interface Distribution {
  distributed: BranchDevices
  devices: readonly Device[]
  /** Execution mode of the branches on each device. */
  mode: Mode
}

/** The models on several devices. */
export interface Several {
  distributions: readonly Distribution[]
  /** The devices of the pipeline. */
  devices: readonly Device[]
  /** The parameters of the pipeline's ViT by name. */
  state: Values
}

/** All models to measure. */
export interface Workbench extends Models {
  several: Several | undefined
}

/** Makes both models on a device. The optimizers put parameters side by side, as coalescing needs them. */
export function makeModels(device: Device, sizes: Sizes): Models {
  device.random.seed = 1
  const [paraformer, vit] = [new ParaFormer(sizes.paraformer), new ViT(sizes.vit)]
  for (const model of [paraformer, vit]) model.recomputes = sizes.recompute
  paraformer.coalesces = sizes.coalesce
  return {
    device,
    sizes,
    paraformer: { model: paraformer, optimizer: new AdamW(paraformer.namedParameters()) },
    vit: { model: vit, optimizer: new AdamW(vit.namedParameters()) },
  }
}

/** Runs every pass that will be measured once, so that `tuneDevice()` can record the dispatches. */
export function dryRun(models: Models, batches: readonly number[]): void {
  const { paraformer, vit, sizes } = models
  for (const batch of batches) {
    const { resident } = loadBatch(models, batch)
    for (const { model, optimizer } of [paraformer, vit]) {
      const scheme = model === vit.model ? 'joint' : sizes.scheme
      noGrad(() => model.forward(resident.images))
      optimizerStep(model, optimizer, lastObjective(scheme, model.branches.length), [resident], ZERO_LR, MAX_NORM)
    }
  }
}

/** Makes a batch of random images on the host, with a copy on the device that the caller disposes of. */
export function loadBatch(
  { device, sizes }: Pick<Models, 'device' | 'sizes'>,
  batch: number,
): { data: LabelledImages; resident: MicroBatch } {
  const { channels, imageSize, classes } = sizes.paraformer
  const shape = [batch, channels, imageSize, imageSize]
  const size = shape.reduce((product, length) => product * length)
  // Normalised images have mean 0 and variance 1, as these have.
  const images = Float32Array.from({ length: size }, () => Math.sqrt(3) * (2 * Math.random() - 1))
  const labels = Int32Array.from({ length: batch }, (_, i) => i % classes)
  const resident = { images: tensor(images, { shape, device }), labels: tensor(labels, { device }), share: 1 }
  return { data: { images, labels }, resident }
}

/** Distributes copies of the models over `count` devices: their own, and others opened by the same request. */
export async function distributeOver(models: Models, count: number): Promise<Several> {
  const state = await parametersOf(models.vit.model)
  const distributions = [
    await distributeParaFormer(models, count, 'serial'),
    await distributeParaFormer(models, count, 'coalesced'),
  ]
  return { distributions, devices: distributions[0]!.devices, state }
}

async function distributeParaFormer(models: Models, count: number, mode: Mode): Promise<Distribution> {
  const { device, sizes, paraformer } = models
  const copy = new ParaFormer(sizes.paraformer)
  copy.recomputes = sizes.recompute
  copy.coalesces = sizes.coalesce
  copy.loadStateDict(paraformer.model.stateDict())
  const others = Array.from({ length: count - 1 }, () => device.request)
  const distributed = await distributeBranches(copy, { others, inProcess: true, mode })
  const { data, resident } = loadBatch(models, 1)
  for (const t of [resident.images, resident.labels]) t.dispose()
  // Devices put their parameters side by side at the first gradients. Passes that are captured earlier could not be coalesced.
  await distributed.gradients(data, sizes.paraformer.branches, 1)
  return { distributed, devices: [device, ...distributed.workers.map((worker) => (worker as LocalBranchWorker).device)], mode }
}
