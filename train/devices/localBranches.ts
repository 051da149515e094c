import { zeroGrad } from '../../engine/autograd/backward.ts'
import { addAll, type Captured, capture, type Device, noGrad, scope, stack, type Tensor } from '../../engine/index.ts'
import type { Mode, ParaFormer } from '../../model/index.ts'
import { AdamW, type AdamWSettings } from '../optim/adamW.ts'
import { LossScale, type LossScaleCopy } from '../optim/lossScale.ts'
import { BranchPass } from './branchPass.ts'
import { isStem } from './partState.ts'
import type { ForwardRequest } from './worker.ts'

/** How the branches of one device run. */
export interface RunOptions {
  /** Default `serial`. */
  mode?: Mode | undefined
  /** Runs every op of every pass on the host instead of replaying captured passes. */
  eager?: boolean | undefined
}

/** Rows of branches, and the way back. */
export interface LocalRows {
  /** [own, B, D], or their sum [B, D]; on the device until the next pass. */
  rows: Tensor
  /** Sends the gradient of the rows to the parameters, where gradients add up; once. */
  backward(cotangent: Tensor): void
  dispose(): void
}

/** Passes kept for other shapes: each holds the memory of one. */
const PASSES = 3

/** What lives on one device: a model with some of its branches and the stem, and their optimizer. */
export class LocalBranches {
  readonly model: ParaFormer
  /** Branches that are here. */
  readonly own: readonly number[]
  /** What losses are multiplied by in the next step. */
  lossScale: number
  readonly #settings: Partial<AdamWSettings>
  readonly #scale: LossScaleCopy | undefined
  readonly #how: RunOptions
  readonly #passes = new Map<string, BranchPass>()
  readonly #inferences = new Map<string, Captured<[Tensor], Tensor>>()
  #optimizer: AdamW | undefined

  /**
   * @param settings of the optimizer
   * @param scale of losses; default 1
   */
  constructor(model: ParaFormer, settings: Partial<AdamWSettings>, how: RunOptions, scale?: LossScaleCopy) {
    this.model = model
    this.own = Object.keys(model.branches).map(Number)
    this.#settings = settings
    this.#how = how
    this.#scale = scale
    this.lossScale = scale?.initial.scale ?? 1
  }

  /** Whether every op runs on the host in every pass. */
  get eager(): boolean {
    return this.#how.eager ?? false
  }

  get device(): Device {
    return this.model.posEmbedding.device
  }

  /** Made when it is first used: it takes twice the memory of the parameters. */
  get optimizer(): AdamW {
    this.#optimizer ??= this.#makeOptimizer()
    return this.#optimizer
  }

  /** Branches that are here and take part. */
  active(branches: number): number[] {
    return this.own.filter((i) => i < branches)
  }

  /** Runs the branches that take part. */
  forward(images: Tensor, request: Omit<ForwardRequest, 'images' | 'random' | 'lossScale'>): LocalRows {
    const { branches, eachBranch, training, differentiate } = request
    this.model.train(training)
    const compute = (on: Tensor) =>
      scope(() => {
        const outputs = this.model.branchOutputs(on, { branches, mode: this.#how.mode })
        return eachBranch ? stack(outputs, 0) : addAll(outputs)
      })
    if (!differentiate) return this.#infer(images, compute, `${branches} ${eachBranch} ${training}`)
    // A pass over some of the branches only would need the memory of all once more.
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
    // Gradients are written to the optimizer's arena, which must be there when they are recorded.
    const { parameters } = this.optimizer
    let pass = this.#passes.get(key)
    if (!pass) {
      pass = new BranchPass(compute, parameters)
      for (const [oldest, one] of this.#passes) {
        if (this.#passes.size < PASSES) break
        one.dispose()
        this.#passes.delete(oldest)
      }
    }
    this.#passes.delete(key)
    this.#passes.set(key, pass)
    return pass
  }

  /** Values and gradients of the stem, flat, as they lie in memory. */
  stem(): { values: Tensor; gradients: Tensor } {
    return this.optimizer.flat(this.model.namedParameters().flatMap(([name, t]) => (isStem(name) ? [t] : [])))
  }

  /** Frees the stem's gradient. */
  dropStemGradient(): void {
    zeroGrad(this.model.namedParameters().flatMap(([name, parameter]) => (isStem(name) ? [parameter] : [])))
  }

  /** Ends with everything on the device but the device itself. */
  dispose(): void {
    for (const one of [...this.#passes.values(), ...this.#inferences.values()]) one.dispose()
    this.#optimizer?.dispose()
    this.model.dispose()
  }

  #makeOptimizer(): AdamW {
    // Parameters move into the optimizer's arena: what was recorded before reads them where they were.
    for (const one of this.#inferences.values()) one.dispose()
    this.#inferences.clear()
    const scale = this.#scale && { lossScale: new LossScale({ ...this.#scale, device: this.device }) }
    return new AdamW(this.model.namedParameters(), { ...this.#settings, ...scale })
  }
}
