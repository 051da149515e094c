import { type Captured, capture, scope, type Tensor, tensor } from '../../engine/index.ts'
import type { ParaFormer } from '../../model/index.ts'
import { labelTensor } from '../modelInput.ts'
import type { AdamW } from '../optim/adamW.ts'
import type { Objective } from '../schemes/index.ts'

/** The results of the head for a micro-batch, until its next pass. */
export interface HeadResult {
  /** [1] or [m], the micro-batch's share of the mean. */
  losses: Tensor
  /** int32 [1 or m, B] */
  predicted: Tensor
  /** Gradient of the branches' outputs, of their shape. */
  cotangent: Tensor
}

/** Forward and backward pass of head and loss from the outputs of the branches, captured once for each objective and shape. */
export class HeadPass {
  readonly #model: ParaFormer
  readonly #optimizer: () => AdamW
  readonly #eager: boolean
  readonly #passes = new Map<Objective, Captured<[Tensor, Tensor, Tensor], HeadResult>>()

  constructor(model: ParaFormer, optimizer: () => AdamW, eager: boolean) {
    this.#model = model
    this.#optimizer = optimizer
    this.#eager = eager
  }

  /**
   * Computes losses, predictions and the gradient of the outputs; gradients of the head's parameters add up.
   * @param outputs [k, B, D] of k branches, or their sum [1, B, D]
   * @param share the share of the micro-batch in its mini-batch
   */
  run(objective: Objective, outputs: Tensor, labels: Int32Array, share: number): HeadResult {
    return scope(() => {
      const shareTensor = tensor([share], { shape: [], device: outputs.device })
      const inputs = [outputs, labelTensor(this.#model, labels), shareTensor] as const
      return this.#eager ? this.#compute(objective, ...inputs) : this.#pass(objective)(...inputs)
    })
  }

  #pass(objective: Objective): Captured<[Tensor, Tensor, Tensor], HeadResult> {
    // The optimizer moves the parameters when it is made, which a capture does not allow.
    this.#optimizer()
    let pass = this.#passes.get(objective)
    if (!pass) {
      pass = capture((outputs, labels, share) => this.#compute(objective, outputs, labels, share))
      this.#passes.set(objective, pass)
    }
    return pass
  }

  #compute(objective: Objective, constant: Tensor, labels: Tensor, share: Tensor): HeadResult {
    const outputs = constant.detach()
    outputs.requiresGrad = true
    // An objective does not read the images when it has the outputs.
    const found = objective.loss(this.#model, { images: constant, labels, share: 1, outputs })
    found.objective.mul(share).backward(this.#optimizer().lossScale.value)
    return { losses: found.losses.mul(share), predicted: found.logits.argmax(2), cotangent: outputs.grad! }
  }

  dispose(): void {
    for (const pass of this.#passes.values()) pass.dispose()
  }
}
