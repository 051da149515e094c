import { autocast, type Captured, capture, scope, type Tensor, tensor } from '../../engine/index.ts'
import type { Model } from '../../model/index.ts'
import type { Objective } from '../schemes/index.ts'

/** The results of a pass, until the next one. */
export interface PassResult {
  /** [1] or [m], the micro-batch's share of the mean. */
  losses: Tensor
  /** int32 [1 or m, B] */
  predicted: Tensor
}

/** Forward and backward pass of a whole model over a micro-batch, captured once for each objective and shape. Gradients add up. */
export class ReplicaPass {
  readonly #model: Model
  readonly #eager: boolean
  /** The loss scale, []. */
  readonly #lossScale: Tensor
  readonly #passes = new Map<Objective, Captured<[Tensor, Tensor, Tensor], PassResult>>()

  constructor(model: Model, lossScale: Tensor, eager: boolean) {
    this.#model = model
    this.#lossScale = lossScale
    this.#eager = eager
  }

  /**
   * Computes losses, predictions and gradients.
   * @param images [B, C, H, W]
   * @param labels int32 [B]
   * @param share the share of the micro-batch in its mini-batch
   */
  run(objective: Objective, images: Tensor, labels: Tensor, share: number): PassResult {
    return scope(() => {
      const inputs = [images, labels, tensor([share], { shape: [], device: images.device })] as const
      if (this.#eager) return this.#compute(objective, ...inputs)
      let pass = this.#passes.get(objective)
      if (!pass) {
        pass = capture((images, labels, share) => this.#compute(objective, images, labels, share))
        this.#passes.set(objective, pass)
      }
      return pass(...inputs)
    })
  }

  #compute(objective: Objective, images: Tensor, labels: Tensor, share: Tensor): PassResult {
    return scope(() =>
      autocast('float32', () => {
        const found = objective.loss(this.#model, { images, labels, share: 1 })
        found.objective.mul(share).backward(this.#lossScale)
        return { losses: found.losses.mul(share), predicted: found.logits.argmax(2) }
      }),
    )
  }

  dispose(): void {
    for (const pass of this.#passes.values()) pass.dispose()
  }
}
