import { zeroGrad } from '../../engine/autograd/backward.ts'
import { withDevice } from '../../engine/device/defaultDevice.ts'
import type { Device } from '../../engine/device/device.ts'
import { type Captured, capture, crossEntropy, empty, noGrad, type Tensor, tensor, withoutScope } from '../../engine/index.ts'
import { ViT, type ViTConfig } from '../../model/index.ts'
import { AdamW } from '../optim/adamW.ts'

/** The layers of a ViT that a stage holds. */
export interface Layers {
  first: number
  /** Exclusive end. */
  end: number
}

/** The batch of a pipeline, and whether it trains. */
export interface PipelineWork {
  /** Images of the whole batch [B, C, H, W]. */
  images: Float32Array
  /** Labels of the whole batch [B]. */
  labels: Int32Array
  /** Number of micro-batches, a divisor of the batch size. */
  microBatches: number
  /** Whether backward passes and updates follow the forward passes. */
  train: boolean
}

/** Some layers of a ViT. The first layers come with the stem, and the last with the head. */
class StageModel extends ViT {
  readonly isFirst: boolean
  readonly isLast: boolean

  constructor(config: ViTConfig, { first, end }: Layers) {
    super({ ...config, depth: end - first })
    this.isFirst = first === 0
    this.isLast = end === config.depth
  }

  /** Returns the parameters that this stage computes with, by their names in this model. */
  used(): [string, Tensor][] {
    return this.namedParameters().filter(([name]) => {
      if (name.startsWith('branches.')) return true
      return name.startsWith('head.') ? this.isLast : this.isFirst
    })
  }

  /**
   * Takes images [b, C, H, W], or the output of the stage before [b, N, D]; gives this stage's output [b, N, D], or logits [b,
   * classes].
   */
  run(x: Tensor): Tensor {
    const z = this.isFirst ? this.sequence(x, undefined) : x // [b, N, D]
    return this.isLast ? this.head.forward(this.branchOutput(0, z, {})) : this.branches[0]!.forward(z)
  }
}

/** The captured passes of one micro-batch. */
interface Part {
  input: Tensor
  /** Gives the stage's output; in the last stage the logits, or while training the micro-batch's part of the loss. */
  forward: Captured<[], Tensor>
  training?: {
    labels: Tensor
    /** The gradient of the stage's output. */
    cotangent: Tensor
    /** Gives the gradient of the input, except in the first stage. */
    backward: Captured<[], Tensor | undefined>
  }
}

/**
 * One device of a pipeline. In training every micro-batch has captured passes of its own, since the activations of its forward
 * pass must live through the passes of the other micro-batches.
 */
export class Stage {
  readonly device: Device
  /** The optimizer of this stage's parameters; undefined without training. */
  readonly optimizer: AdamW | undefined
  readonly #layers: Layers
  readonly #model: StageModel
  readonly #parts: Part[]
  readonly #update: Captured<[], void>

  /** @param state the parameters of the whole model by name */
  constructor(
    device: Device,
    config: ViTConfig,
    layers: Layers,
    state: ReadonlyMap<string, Float32Array>,
    { images, labels, microBatches, train }: PipelineWork,
  ) {
    const model = withDevice(device, () => new StageModel(config, layers))
    this.device = device
    this.#layers = layers
    this.#model = model
    for (const [name, parameter] of model.used()) parameter.write(state.get(this.#wholeName(name))!)
    const optimizer = train ? new AdamW(model.used()) : undefined
    this.optimizer = optimizer
    const { imageSize, patchSize, channels, dim } = config
    const [pixels, b] = [images.length / microBatches, labels.length / microBatches]
    this.#parts = Array.from({ length: microBatches }, (_, i) => {
      const sequence = [b, (imageSize / patchSize) ** 2 + 1, dim] // [b, N, D], the tensor that moves between stages
      const input = empty(model.isFirst ? [b, channels, imageSize, imageSize] : sequence, 'float32', device)
      if (model.isFirst) input.write(images.subarray(i * pixels, (i + 1) * pixels))
      if (!train) return this.#inferPart(input)
      const own = tensor(labels.subarray(i * b, (i + 1) * b), { device })
      return this.#trainPart(input, own, empty(sequence, 'float32', device), 1 / microBatches)
    })
    this.#update = capture(function update() {
      optimizer?.step(optimizer.lr)
      optimizer?.zeroGrad()
    })
  }

  /**
   * Runs the forward pass of a micro-batch.
   * @param received the output of the stage before; the first stage has its images
   * @returns this stage's output
   */
  forward(i: number, received?: Float32Array): Promise<Float32Array> {
    const { input, forward } = this.#parts[i]!
    if (received) input.write(received)
    return withDevice(this.device, forward).data() as Promise<Float32Array>
  }

  /**
   * Runs the backward pass of a micro-batch, which comes after its forward pass. Gradients of parameters add up.
   * @param received the gradient of this stage's output; the last stage begins at its loss
   * @returns the gradient of this stage's input; undefined in the first stage
   */
  backward(i: number, received?: Float32Array): Promise<Float32Array> | undefined {
    const { cotangent, backward } = this.#parts[i]!.training!
    if (received) cotangent.write(received)
    return withDevice(this.device, backward)?.data() as Promise<Float32Array> | undefined
  }

  /** Updates the parameters by the gradients of all micro-batches. */
  update(lr: number): void {
    this.optimizer!.lr = lr
    withDevice(this.device, this.#update)
  }

  /** Returns the parameters that this stage computes with, by their names in the whole model. */
  parameters(): [string, Tensor][] {
    return this.#model.used().map(([name, parameter]) => [this.#wholeName(name), parameter])
  }

  /** Frees all that this stage holds on its device, but not the device. */
  dispose(): void {
    for (const { input, forward, training } of this.#parts) {
      for (const resource of [input, forward, ...Object.values(training ?? {})]) resource.dispose()
    }
    this.#update.dispose()
    this.optimizer?.dispose()
    this.#model.dispose()
  }

  #inferPart(input: Tensor): Part {
    return { input, forward: capture(() => noGrad(() => this.#model.run(input))) }
  }

  #trainPart(input: Tensor, labels: Tensor, cotangent: Tensor, share: number): Part {
    const { isFirst, isLast } = this.#model
    input.requiresGrad = !isFirst
    // Backward starts from this view, which is on the tape and outlives the scope of the capture that makes it.
    let sent: Tensor | undefined
    const forward = capture(() => {
      const output = this.#model.run(input) // [b, N, D] or [b, classes]
      const result = isLast ? crossEntropy(output, labels).mul(share) : output
      sent = withoutScope(() => result.reshape(result.shape))
      return result.detach()
    })
    const backward = capture(() => {
      sent!.backward(isLast ? undefined : cotangent)
      sent!.dispose()
      const result = input.grad?.detach()
      zeroGrad([input])
      return result
    })
    return { input, forward, training: { labels, cotangent, backward } }
  }

  #wholeName(name: string): string {
    return name.replace(/^branches\.0\.layers\.(\d+)/, (_, l) => `branches.0.layers.${Number(l) + this.#layers.first}`)
  }
}
