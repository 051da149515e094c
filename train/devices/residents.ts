import { addAll, type Device, noGrad, scope, stack, type Tensor } from '../../engine/index.ts'
import { view } from '../../engine/tensor.ts'
import type { ParaFormer } from '../../model/index.ts'
import { AdamW, type AdamWSettings } from '../optim/adamW.ts'
import { LossScale, type LossScaleState } from '../optim/lossScale.ts'
import { isBranch, isStem } from './partState.ts'
import type { ForwardRequest } from './shard.ts'

/** What lives on one device: a model with some of its branches and the stem, and their optimizer. */
export class Residents {
  readonly model: ParaFormer
  /** Branches that are here. */
  readonly own: readonly number[]
  /** What losses are multiplied by in the next step. */
  lossScale: number
  readonly #settings: Partial<AdamWSettings>
  readonly #initial: LossScaleState | undefined
  #optimizer: AdamW | undefined

  /** @param scale of losses, where it is to change with the steps that are taken here; default 1 */
  constructor(model: ParaFormer, settings: Partial<AdamWSettings>, scale?: LossScaleState) {
    this.model = model
    this.own = Object.keys(model.branches).map(Number)
    this.#settings = settings
    this.#initial = scale
    this.lossScale = scale?.scale ?? 1
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

  /** Rows of the branches that take part: [own, B, D], or their sum [B, D]. On the tape if differentiated. */
  rows(
    images: Tensor,
    { branches, eachBranch, training, differentiate }: Omit<ForwardRequest, 'images' | 'random' | 'lossScale'>,
  ): Tensor {
    this.model.train(training)
    const run = () =>
      scope(() => {
        const outputs = this.model.branchOutputs(images, { branches })
        return eachBranch ? stack(outputs, 0) : addAll(outputs)
      })
    return differentiate ? run() : noGrad(run)
  }

  /** The stem's part of a flat tensor of the optimizer's layout, where it comes first. */
  stemOf(flat: Tensor): Tensor {
    const { arena } = this.optimizer
    const first = this.#names().findIndex(isBranch)
    const branch = arena.slot(flat, first)
    const length = branch.offset - flat.offset
    branch.dispose()
    return view(flat, [length], [1], flat.offset)
  }

  /** Forgets the stem's gradient. */
  dropStemGradient(): void {
    for (const [name, parameter] of this.model.namedParameters()) {
      if (!isStem(name)) continue
      parameter.grad?.dispose()
      parameter.grad = undefined
    }
  }

  /** Ends with everything on the device but the device itself. */
  dispose(): void {
    this.#optimizer?.dispose()
    this.model.dispose()
  }

  #makeOptimizer(): AdamW {
    const scale = this.#initial && { lossScale: new LossScale({ initial: this.#initial, device: this.device }) }
    return new AdamW(this.model.namedParameters(), { ...this.#settings, ...scale })
  }

  #names(): string[] {
    return this.model.namedParameters().map(([name]) => name)
  }
}
