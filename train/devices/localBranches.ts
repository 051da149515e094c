import { addAll, type Captured, capture, type Device, noGrad, scope, stack, type Tensor } from '../../engine/index.ts'
import type { Mode, ParaFormer, Parameter } from '../../model/index.ts'
import { isStem } from '../modelState.ts'
import { AdamW, type AdamWSettings } from '../optim/adamW.ts'
import { LossScale, type LossScaleCopy } from '../optim/lossScale.ts'
import { BranchPass } from './branchPass.ts'
import type { ForwardRequest } from './branchWorker.ts'

export interface RunOptions {
  /** Mode in which the branches of each device run; default `serial`. */
  mode?: Mode | undefined
  /** Runs every op of every pass on the host instead of replaying captured passes. */
  eager?: boolean | undefined
}

/** The result of a forward pass, with its backward pass. */
export interface LocalRows {
  /** The rows that the head reads, [n, B, D] for the n branches on this device, or their sum [B, D]; the next pass overwrites them. */
  rows: Tensor
  /** Sends the gradient of the rows to the parameters, where gradients add up. It can be called once. */
  backward(cotangent: Tensor): void
  dispose(): void
}

/** Number of captured passes of different shapes that are kept; each holds the memory of one pass. */
const PASSES = 3

/** The part of a model that lives on one device: some of its branches, the stem, and their optimizer. */
export class LocalBranches {
  readonly model: ParaFormer
  /** The branches that live here, by their index in the model. */
  readonly own: readonly number[]
  /** The loss scale of the next step. */
  lossScale: number
  readonly #settings: Partial<AdamWSettings>
  readonly #scale: LossScaleCopy | undefined
  readonly #how: RunOptions
  readonly #passes = new Map<string, BranchPass>()
  readonly #inferences = new Map<string, Captured<[Tensor], Tensor>>()
  #optimizer: AdamW | undefined

  /**
   * @param settings hyperparameters of the optimizer
   * @param scale the loss scale; default a constant 1
   */
  constructor(model: ParaFormer, settings: Partial<AdamWSettings>, how: RunOptions, scale?: LossScaleCopy) {
    this.model = model
    this.own = Object.keys(model.branches).map(Number)
    this.#settings = settings
    this.#how = how
    this.#scale = scale
    this.lossScale = scale?.initial.scale ?? 1
  }

  get eager(): boolean {
    return this.#how.eager ?? false
  }

  get device(): Device {
    return this.model.posEmbedding.device
  }

  /** The optimizer, which is made at its first use, since it takes twice the memory of the parameters. */
  get optimizer(): AdamW {
    this.#optimizer ??= this.#makeOptimizer()
    return this.#optimizer
  }

  /** Returns the branches that live here and belong to a prefix. */
  active(branches: number): number[] {
    return this.own.filter((i) => i < branches)
  }

  /** Runs the branches that live here and belong to the prefix. */
  forward(images: Tensor, request: Omit<ForwardRequest, 'images' | 'random' | 'lossScale'>): LocalRows {
    const { branches, eachBranch, training, differentiate } = request
    this.model.train(training)
    const compute = (on: Tensor) =>
      scope(() => {
        const outputs = this.model.branchOutputs(on, { branches, mode: this.#how.mode })
        return eachBranch ? stack(outputs, 0) : addAll(outputs)
      })
    if (!differentiate) return this.#infer(images, compute, `${branches} ${eachBranch} ${training}`)
    // A captured pass over a prefix would take as much memory again as the pass over all branches.
    const captures = !this.#how.eager && this.active(branches).length === this.own.length
    if (!captures) {
      const rows = compute(images)
      return { rows, backward: (cotangent) => rows.backward(cotangent), dispose: () => rows.dispose() }
    }
    const pass = this.#pass(`${images.shape} ${eachBranch} ${training} ${this.model.posEmbedding.grad !== undefined}`, compute)
    const rows = pass.forward(images)
    return { rows, backward: (cotangent) => pass.backward(cotangent), dispose: () => rows.dispose() }
  }

  #infer(images: Tensor, compute: (images: Tensor) => Tensor, key: string): LocalRows {
    let run = this.#how.eager ? (on: Tensor) => noGrad(() => compute(on)) : this.#inferences.get(key)
    if (!run) {
      if (this.#how.mode === 'coalesced') this.model.colocate()
      run = capture((on: Tensor) => noGrad(() => compute(on)))
      this.#inferences.set(key, run as Captured<[Tensor], Tensor>)
    }
    const rows = run(images)
    const backward = () => {
      throw new Error('backward: the forward pass was not to be differentiated')
    }
    return { rows, backward, dispose: () => rows.dispose() }
  }

  #pass(key: string, compute: (images: Tensor) => Tensor): BranchPass {
    // Gradients are written to the optimizer's arena, which must exist when the pass is captured.
    this.optimizer
    let pass = this.#passes.get(key)
    if (!pass) {
      pass = new BranchPass(compute)
      for (const [oldestKey, oldest] of this.#passes) {
        if (this.#passes.size < PASSES) break
        oldest.dispose()
        this.#passes.delete(oldestKey)
      }
    }
    this.#passes.delete(key)
    this.#passes.set(key, pass)
    return pass
  }

  get stemParameters(): Parameter[] {
    return this.model.namedParameters().flatMap(([name, parameter]) => (isStem(name) ? [parameter] : []))
  }

  /** Returns live views of the stem's values and gradients, flat, as they lie in memory. */
  stem(): { values: Tensor; gradients: Tensor } {
    return this.optimizer.flat(this.stemParameters)
  }

  /** Frees everything on the device. */
  dispose(): void {
    for (const captured of [...this.#passes.values(), ...this.#inferences.values()]) captured.dispose()
    this.#optimizer?.dispose()
    this.model.dispose()
  }

  #makeOptimizer(): AdamW {
    // Parameters move into the optimizer's arena, and earlier captures would read them at their old place.
    for (const inference of this.#inferences.values()) inference.dispose()
    this.#inferences.clear()
    const scale = this.#scale && { lossScale: new LossScale({ ...this.#scale, device: this.device }) }
    return new AdamW(this.model.namedParameters(), { ...this.#settings, ...scale })
  }
}
