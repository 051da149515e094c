import { type Device, noGrad, tensor } from '../../engine/index.ts'
import { ParaFormer, ViT } from '../../model/index.ts'
import type { BranchDevices } from '../../train/devices/branchDevices.ts'
import type { LocalShard } from '../../train/devices/localShard.ts'
import { spreadBranches } from '../../train/devices/spread.ts'
import { AdamW, type MicroBatch, optimizerStep } from '../../train/index.ts'
import { type BatchData, MAX_NORM, STILL, type Values } from './candidate.ts'
import { lastObjective, type Resident } from './oneDevice.ts'
import { parametersOf } from './pipeline.ts'
import type { Sizes } from './sizes.ts'

/** The models that are compared, on one device. */
export interface Models {
  device: Device
  sizes: Sizes
  paraformer: Resident
  vit: Resident & { model: ViT }
}

/** Copies of them on several devices. */
export interface Several {
  devices: readonly Device[]
  spread: BranchDevices
  /** The ViT's parameters. */
  state: Values
}

/** What everything is measured on. */
export interface Workbench extends Models {
  several: Several | undefined
}

/** Makes both models on a device; parameters lie side by side, as coalescing wants them. */
export function makeModels(device: Device, sizes: Sizes): Models {
  device.random.seed = 1
  const [paraformer, vit] = [new ParaFormer(sizes.paraformer), new ViT(sizes.vit)]
  return {
    device,
    sizes,
    paraformer: { model: paraformer, optimizer: new AdamW(paraformer.namedParameters()) },
    vit: { model: vit, optimizer: new AdamW(vit.namedParameters()) },
  }
}

/** Does what will be measured, for `tuneDevice()` to look at. */
export function rehearse(models: Models, batches: readonly number[]): void {
  const { paraformer, vit, sizes } = models
  for (const batch of batches) {
    const { resident } = loadBatch(models, batch)
    for (const { model, optimizer } of [paraformer, vit]) {
      const scheme = model === vit.model ? 'joint' : sizes.scheme
      noGrad(() => model.forward(resident.images))
      optimizerStep(model, optimizer, lastObjective(scheme, model.branches.length), [resident], STILL, MAX_NORM)
    }
  }
}

/** A batch of random images on the host, and on the device, where the caller frees it. */
export function loadBatch({ device, sizes }: Models, batch: number): { data: BatchData; resident: MicroBatch } {
  const { channels, imageSize, classes } = sizes.paraformer
  const shape = [batch, channels, imageSize, imageSize]
  const size = shape.reduce((product, one) => product * one)
  // Of mean 0 and variance 1, as normalised images.
  const images = Float32Array.from({ length: size }, () => Math.sqrt(3) * (2 * Math.random() - 1))
  const labels = Int32Array.from({ length: batch }, (_, i) => i % classes)
  const resident = { images: tensor(images, { shape, device }), labels: tensor(labels, { device }), share: 1 }
  return { data: { images, labels }, resident }
}

/** Spreads copies of the models over their device and as many others like it as make `count`. */
export async function spreadOver({ device, sizes, paraformer, vit }: Models, count: number): Promise<Several> {
  const copy = new ParaFormer(sizes.paraformer)
  copy.loadStateDict(paraformer.model.stateDict())
  const others = Array.from({ length: count - 1 }, () => device.request)
  const spread = await spreadBranches(copy, { others, inProcess: true })
  const devices = [device, ...spread.shards.map((shard) => (shard as LocalShard).device)]
  return { devices, spread, state: await parametersOf(vit.model) }
}
