import { refusal } from '../../engine/base/checks.ts'
import { checkOptions, type OptionNames } from '../../engine/base/options.ts'
import { type Device, defaultDevice, scope, type Tensor, tensor, withoutScope } from '../../engine/index.ts'
import { checkHyperparameters } from '../../engine/ops/optimizerStep.ts'

/** The smallest loss scale, which is a normal number of float32, as is its reciprocal. */
export const MIN_SCALE = 2 ** -126
/** The largest loss scale, which is a normal number of float32, as is its reciprocal. */
export const MAX_SCALE = 2 ** 126
/** The largest count of finite steps, up to which float32 has all whole numbers. */
export const MAX_STEADY = 2 ** 24

/** The state of a loss scale in a checkpoint. */
export interface LossScaleState {
  scale: number
  /** Finite steps in a row since the scale changed. */
  steady: number
}

/** Options that make a copy of a loss scale. */
export type LossScaleCopy = { initial: LossScaleState; growthInterval: number }

export interface LossScaleOptions {
  /** A scale to begin with, or a saved state; default 65536. */
  initial?: LossScaleState | number
  /** Finite steps in a row that double the scale; default 2000. 0 keeps it constant. */
  growthInterval?: number
  device?: Device
}

const OPTIONS: OptionNames<LossScaleOptions> = { initial: true, growthInterval: true, device: true }

/**
 * A factor of the loss that keeps its gradients from vanishing in float16, as PyTorch's GradScaler: a step whose gradient is not finite
 * is left out and halves the scale, and many finite steps double it. `AdamW.step` decides that on the device, and the host does not
 * wait. Unlike PyTorch's, the scale is bounded: below 1 it is not halved any more, and above 2^126 it does not grow.
 */
export class LossScale {
  /** float32 [2]: the scale, and the finite steps in a row since it changed. */
  readonly state: Tensor
  /** The scale, []. */
  readonly value: Tensor
  #isOne: boolean
  readonly growthInterval: number

  /** @throws ArgumentError for a scale that is not from 2^-126 to 2^126, or counts that are no whole numbers from 0 to 2^24 */
  constructor(options: LossScaleOptions = {}) {
    checkOptions('LossScale', options, OPTIONS)
    const { initial = 65536, growthInterval = 2000, device = defaultDevice() } = options
    checkHyperparameters('LossScale', { growthInterval })
    const { scale, steady } = checkState('LossScale', typeof initial === 'number' ? { scale: initial, steady: 0 } : initial)
    const [state, value] = withoutScope(() =>
      scope(() => {
        const made = tensor([scale, steady], { device })
        return [made, made.slice([[0, 1]]).reshape([])]
      }),
    )
    this.state = state!
    this.value = value!
    this.growthInterval = growthInterval
    this.#isOne = scale === 1 && growthInterval === 0
  }

  /** What `backward` takes as the gradient of the loss: the scale, or undefined where it is 1 until `restore` changes it. */
  get cotangent(): Tensor | undefined {
    return this.#isOne ? undefined : this.value
  }

  /** Returns options that make a copy on any device. */
  async copy(): Promise<LossScaleCopy> {
    return { initial: await this.save(), growthInterval: this.growthInterval }
  }

  /** Reads the state. */
  async save(): Promise<LossScaleState> {
    const [scale, steady] = (await this.state.data()) as unknown as [number, number]
    return { scale, steady }
  }

  /** Overwrites the state. @throws ArgumentError for values out of range */
  restore(state: LossScaleState): void {
    const { scale, steady } = checkState('LossScale.restore', state)
    this.#isOne &&= scale === 1
    this.state.write(Float32Array.of(scale, steady))
  }

  dispose(): void {
    this.state.dispose()
    this.value.dispose()
  }
}

/** Returns the state. @throws ArgumentError for values out of range */
function checkState(op: string, state: LossScaleState): LossScaleState {
  const { scale, steady } = (state ?? {}) as Partial<LossScaleState>
  if (typeof scale !== 'number' || !(scale >= MIN_SCALE && scale <= MAX_SCALE))
    throw refusal(op, scale, 'a number from 2^-126 to 2^126', 'scale')
  if (!Number.isInteger(steady) || !(steady! >= 0 && steady! <= MAX_STEADY))
    throw refusal(op, steady, 'a whole number from 0 to 2^24', 'steady')
  return state
}
