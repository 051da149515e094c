import { refusal } from '../engine/base/checks.ts'
import { capture, scope, type Tensor } from '../engine/index.ts'
import { type ForwardOptions, MODES, type Mode, type Model, Module } from '../model/index.ts'
import type { BranchDevices } from './devices/branchDevices.ts'
import type { Pass } from './devices/passes.ts'
import { imageTensor, labelTensor } from './modelInput.ts'
import type { ImagesOf } from './schemes/index.ts'

export type InferenceOptions = Pick<ForwardOptions, 'branches' | 'mode' | 'outputs'>

/** A model that runs on one batch after the other. */
export interface Inference {
  /** Runs B normalised images, row-major, or what `imagesOf` makes of an input, and reads the results. */
  run(images: Float32Array | (() => Tensor), B: number, labels?: Int32Array): Promise<ArrayLike<number>[]>
  dispose(): void
}

/** @throws ArgumentError unless `model` is a model, and `how` is a mode or distributes the branches of this model */
export function checkInference(op: string, model: unknown, how: Mode | BranchDevices): void {
  if (!(model instanceof Module && 'config' in model)) throw refusal(op, model, 'a model', 'model')
  if (MODES.includes(how as Mode) || (typeof how === 'object' && typeof how?.infer === 'function')) return
  throw refusal(op, how, `one of ${MODES.join(', ')}, or BranchDevices`, 'the mode')
}

/**
 * Prepares the inference of a model.
 * @param how the mode in which the branches run, or the devices on which they live
 * @param imagesOf makes the images of an input, where these are given
 * @param compute makes the results from images [B, C, H, W] and labels [B], off the tape
 */
export function inference(
  model: Model,
  how: Mode | BranchDevices,
  pass: Pass,
  compute: (images: Tensor, options: InferenceOptions, ...labels: Tensor[]) => readonly Tensor[],
  imagesOf: ImagesOf = (input) => input,
): Inference {
  const { branches } = pass
  const onDevice = (labels: Int32Array | undefined) => (labels ? [labelTensor(model, labels)] : [])
  const read = (results: readonly Tensor[]) => results.map((t) => t.data())
  if (typeof how !== 'string') {
    return {
      async run(images, B, labels) {
        const head = (on: Tensor, outputs: Tensor) => read(compute(on, { branches, outputs }, ...onDevice(labels)))
        return Promise.all(await how.infer(images as Float32Array, B, pass, head))
      },
      dispose() {},
    }
  }
  if (how === 'coalesced') model.colocate()
  const captured = capture((on: Tensor, ...labels: Tensor[]) => compute(imagesOf(on), { branches, mode: how }, ...labels))
  return {
    run(images, B, labels) {
      const input = () => (typeof images === 'function' ? images() : imageTensor(model, images, B))
      return Promise.all(scope(() => read(captured(input(), ...onDevice(labels)))))
    },
    dispose: captured.dispose,
  }
}
