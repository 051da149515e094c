import { type Tensor, tensor } from '../engine/index.ts'
import type { Model, ModelConfig } from '../model/index.ts'

/** Returns the shape of B images for a model of this config, [B, C, H, W]. */
export function inputShape({ channels, imageSize }: ModelConfig, B: number): [number, number, number, number] {
  return [B, channels, imageSize, imageSize]
}

/** Copies B normalised images, row-major, to the device of a model, [B, C, H, W]. */
export function imageTensor({ config, device }: Model, images: Float32Array, B: number): Tensor {
  return tensor(images, { shape: inputShape(config, B), device })
}

/** Copies labels to the device of a model, int32 [B]. */
export function labelTensor({ device }: Model, labels: Int32Array): Tensor {
  return tensor(labels, { device })
}
