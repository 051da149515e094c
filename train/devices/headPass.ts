import { scope, type Tensor, tensor } from '../../engine/index.ts'
import type { ParaFormer } from '../../model/index.ts'
import type { AdamW } from '../optim/adamW.ts'
import type { Objective } from '../schemes.ts'
import { RecordedPass } from './recordedPass.ts'

/** What the head of an objective gives for a part of a mini-batch, until its next pass. */
export interface HeadResult {
  /** [1] or [m], the part's share of the mean. */
  losses: Tensor
  /** int32 [1 or m, B] */
  predicted: Tensor
  /** Gradient of the branches' outputs, of their shape. */
  cotangent: Tensor
}

/** Head and loss, there and back, from what the branches gave; recorded once for each objective and shape, and replayed. */
export class HeadPass {
  readonly #model: ParaFormer
  readonly #optimizer: () => AdamW
  readonly #eager: boolean
  readonly #passes = new Map<Objective, RecordedPass<[Tensor, Tensor, Tensor], HeadResult>>()

  constructor(model: ParaFormer, optimizer: () => AdamW, eager: boolean) {
    this.#model = model
    this.#optimizer = optimizer
    this.#eager = eager
  }

  /**
   * Gradients are left to the head's parameters.
   * @param outputs [k, B, D] of k branches, or [1, B, D] their sum
   * @param share of the part in its mini-batch
   */
  run(objective: Objective, outputs: Tensor, labels: Int32Array, share: number): HeadResult {
    const { device } = outputs
    return scope(() => {
      const inputs = [outputs, tensor(labels, { device }), tensor([share], { shape: [], device })] as const
      return this.#eager ? this.#compute(objective, ...inputs) : this.#pass(objective).run(...inputs)
    })
  }

  #pass(objective: Objective): RecordedPass<[Tensor, Tensor, Tensor], HeadResult> {
    let pass = this.#passes.get(objective)
    if (!pass) {
      const { parameters } = this.#optimizer()
      pass = new RecordedPass((outputs, labels, share) => this.#compute(objective, outputs, labels, share), parameters)
      this.#passes.set(objective, pass)
    }
    return pass
  }

  #compute(objective: Objective, given: Tensor, labels: Tensor, share: Tensor): HeadResult {
    const outputs = given.detach()
    outputs.requiresGrad = true
    // Nobody looks at the images when the outputs are there.
    const found = objective.loss(this.#model, { images: given, labels, share: 1, outputs })
    found.objective.mul(share).backward(this.#optimizer().lossScale.value)
    return { losses: found.losses.mul(share), predicted: found.logits.argmax(2), cotangent: outputs.grad! }
  }

  dispose(): void {
    for (const pass of this.#passes.values()) pass.dispose()
  }
}
