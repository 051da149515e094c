import { withDevice } from '../../engine/device/defaultDevice.ts'
import type { Device } from '../../engine/device/device.ts'
import { type Captured, capture, crossEntropy, empty, noGrad, type Tensor, tensor, withoutScope } from '../../engine/index.ts'
import { ViT, type ViTConfig } from '../../model/index.ts'
import { AdamW } from '../../train/index.ts'

/** Which layers of a ViT a stage holds: `first` up to before `end`. */
export interface Layers {
  first: number
  end: number
}

/** What a pipeline computes on. */
export interface PipelineWork {
  /** The whole batch: images [B, C, H, W], labels [B]. */
  images: Float32Array
  labels: Int32Array
  /** Divides the batch. */
  microBatches: number
  /** Whether backward passes and updates follow. */
  train: boolean
}

/** Some layers of a ViT, with the stem where they are the first and the head where they are the last. */
class StageModel extends ViT {
  readonly isFirst: boolean
  readonly isLast: boolean

  constructor(config: ViTConfig, { first, end }: Layers) {
    super({ ...config, depth: end - first })
    this.isFirst = first === 0
    this.isLast = end === config.depth
  }

  /** The parameters that are used here, by their names here. */
  used(): [string, Tensor][] {
    return this.namedParameters().filter(([name]) => {
      if (name.startsWith('branches.')) return true
      return name.startsWith('head.') ? this.isLast : this.isFirst
    })
  }

  /** Images, or what the stage before sent [b, N, D] -> what the stage behind reads [b, N, D], or logits [b, classes]. */
  run(x: Tensor): Tensor {
    const z = this.isFirst ? this.sequence(x, undefined) : x // [b, N, D]
    return this.isLast ? this.head.forward(this.branchOutput(0, z, {})) : this.branches[0]!.forward(z)
  }
}

/** The recorded passes of one micro-batch. */
interface Part {
  input: Tensor
  /** Gives what the stage sends on; of the last stage the logits, or while it trains its part of the loss. */
  forward: Captured<[], Tensor>
  training?: {
    labels: Tensor
    /** The gradient of what was sent on, and what turns it into that of the input. */
    cotangent: Tensor
    backward: Captured<[], Tensor | undefined>
  }
}

/**
 * One device of a pipeline. While it trains every micro-batch has programs of its own, since what its forward pass keeps must
 * live through the passes of all others: nothing is computed twice.
 */
export class Stage {
  readonly device: Device
  /** Of the parameters that are computed here. */
  readonly optimizer: AdamW | undefined
  readonly #layers: Layers
  readonly #model: StageModel
  readonly #parts: Part[]
  readonly #update: Captured<[], void>

  /** @param state parameters of the whole model by name */
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
      const sequence = [b, (imageSize / patchSize) ** 2 + 1, dim] // [b, N, D], what crosses
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
   * Forward pass of a micro-batch.
   * @param received what the stage before sent
   * @returns what the stage sends on
   */
  forward(i: number, received?: Float32Array): Promise<Float32Array> {
    const { input, forward } = this.#parts[i]!
    if (received) input.write(received)
    return withDevice(this.device, forward).data() as Promise<Float32Array>
  }

  /**
   * Backward pass of a micro-batch after its forward pass; gradients of the parameters add up.
   * @param received the gradient of what was sent on; the last stage's is that of the loss
   * @returns the gradient of what was received, of all stages but the first
   */
  backward(i: number, received?: Float32Array): Promise<Float32Array> | undefined {
    const { cotangent, backward } = this.#parts[i]!.training!
    if (received) cotangent.write(received)
    return withDevice(this.device, backward)?.data() as Promise<Float32Array> | undefined
  }

  /** An optimizer step on the gradients of all micro-batches. */
  update(lr: number): void {
    this.optimizer!.lr = lr
    withDevice(this.device, this.#update)
  }

  /** The parameters that are computed here, by their names in the whole model. */
  parameters(): [string, Tensor][] {
    return this.#model.used().map(([name, parameter]) => [this.#wholeName(name), parameter])
  }

  /** Frees everything on the device but the device itself. */
  dispose(): void {
    for (const { input, forward, training } of this.#parts) {
      for (const one of [input, forward, ...Object.values(training ?? {})]) one.dispose()
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
    // What backward starts from: on the tape, and out of the scope of the capture that makes it.
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
      input.grad?.dispose()
      input.grad = undefined
      return result
    })
    return { input, forward, training: { labels, cotangent, backward } }
  }

  #wholeName(name: string): string {
    return name.replace(/^branches\.0\.layers\.(\d+)/, (_, l) => `branches.0.layers.${Number(l) + this.#layers.first}`)
  }
}
