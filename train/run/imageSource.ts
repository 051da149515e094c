import type { Tensor } from '../../engine/index.ts'
import type { Model } from '../../model/index.ts'
import type { Batch, Chosen } from '../data/batch.ts'
import type { BatchLoader } from '../data/loader.ts'
import { imageTensor } from '../modelInput.ts'

/** Makes the images of mini-batches: on the host, or on the device that computes with them. Both give the same bits. */
export interface ImageSource {
  /** Takes the next batch of the loader that the source is for. */
  next(): Promise<Chosen>
  /** Copies to the device what the images `from` to `to` of a batch are made of. */
  input(batch: Chosen, from: number, to: number): Tensor
  /** Makes images [B, C, H, W] of such an input. A captured step records it. */
  images(input: Tensor): Tensor
}

/** Images that the host makes, ahead in a thread where they are costly: the reference. They cross to the device in float32. */
export class HostImages implements ImageSource {
  readonly #model: Model
  readonly #loader: BatchLoader

  constructor(model: Model, loader: BatchLoader) {
    this.#model = model
    this.#loader = loader
  }

  next(): Promise<Batch> {
    return this.#loader.next()
  }

  input(batch: Chosen, from: number, to: number): Tensor {
    const { images, labels } = batch as Batch
    const pixels = images.length / labels.length
    return imageTensor(this.#model, images.subarray(from * pixels, to * pixels), to - from)
  }

  images(input: Tensor): Tensor {
    return input
  }
}
