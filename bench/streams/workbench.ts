import { type Device, tensor } from '../../engine/index.ts'
import { ParaFormer, ViT } from '../../model/index.ts'
import type { BranchDevices } from '../../train/devices/branchDevices.ts'
import type { LocalShard } from '../../train/devices/localShard.ts'
import { spreadBranches } from '../../train/devices/spread.ts'
import { AdamW, type MicroBatch } from '../../train/index.ts'
import type { BatchData, Values } from './candidate.ts'
import type { Resident } from './oneDevice.ts'
import { parametersOf } from './pipeline.ts'
import type { Sizes } from './sizes.ts'

/** The models that are compared, and where they live. */
export interface Workbench {
  device: Device
  sizes: Sizes
  paraformer: Resident
  vit: Resident & { model: ViT }
  /** What needs several devices. */
  several: Several | undefined
  /** A batch of random images on the host, and on the device, where the caller frees it. */
  load(batch: number): { data: BatchData; resident: MicroBatch }
  dispose(): Promise<void>
}

export interface Several {
  devices: readonly Device[]
  /** A copy of the ParaFormer. */
  spread: BranchDevices
  /** The ViT's parameters. */
  state: Values
}

/** Makes the models on a device, and where `count` is more than one spreads copies over it and others like it. */
export async function makeWorkbench(device: Device, sizes: Sizes, count: number): Promise<Workbench> {
  device.random.seed = 1
  const model = new ParaFormer(sizes.paraformer)
  const paraformer = { model, optimizer: new AdamW(model.namedParameters()) }
  const deep = new ViT(sizes.vit)
  const vit = { model: deep, optimizer: new AdamW(deep.namedParameters()) }
  const several = count > 1 ? await spreadOver(device, model, deep, count) : undefined
  return {
    device,
    sizes,
    paraformer,
    vit,
    several,
    load(batch) {
      const { channels, imageSize, classes } = sizes.paraformer
      const shape = [batch, channels, imageSize, imageSize]
      const size = shape.reduce((product, one) => product * one)
      // Of mean 0 and variance 1, as normalised images.
      const images = Float32Array.from({ length: size }, () => Math.sqrt(3) * (2 * Math.random() - 1))
      const labels = Int32Array.from({ length: batch }, (_, i) => i % classes)
      const resident = { images: tensor(images, { shape, device }), labels: tensor(labels, { device }), share: 1 }
      return { data: { images, labels }, resident }
    },
    async dispose() {
      await several?.spread.close()
      for (const one of [paraformer.optimizer, vit.optimizer, model, deep]) one.dispose()
    },
  }
}

async function spreadOver(device: Device, model: ParaFormer, vit: ViT, count: number): Promise<Several> {
  const copy = new ParaFormer(model.config)
  copy.loadStateDict(model.stateDict())
  const others = Array.from({ length: count - 1 }, () => device.request)
  const spread = await spreadBranches(copy, { others, inProcess: true })
  const devices = [device, ...spread.shards.map((shard) => (shard as LocalShard).device)]
  return { devices, spread, state: await parametersOf(vit) }
}
