import { refusal } from '../../engine/base/checks.ts'
import { checkOptions, type OptionNames } from '../../engine/base/options.ts'
import { type Device, defaultDevice, scope, type Tensor, tensor, withoutScope } from '../../engine/index.ts'
import { checkAdamW } from '../../engine/ops/adamW.ts'

/** What a loss scale can be: it and its reciprocal are normal numbers of float32. */
export const LEAST_SCALE = 2 ** -126
export const MOST_SCALE = 2 ** 126
/** Finite steps that are counted: float32 has all whole numbers up to here. */
export const MOST_STEADY = 2 ** 24

/** A loss scale as a checkpoint holds it. */
export interface LossScaleState {
  scale: number
  /** Finite steps in a row since it changed. */
  steady: number
}

/** Options of a loss scale that goes on where another one stands. */
export type LossScaleCopy = { initial: LossScaleState; growthInterval: number }

export interface LossScaleOptions {
  /** Default 65536, fresh. */
  initial?: LossScaleState | number
  /** Finite steps in a row that double it, default 2000; 0: it is constant. */
  growthInterval?: number
  device?: Device
}

const OPTIONS: OptionNames<LossScaleOptions> = { initial: true, growthInterval: true, device: true }

/**
 * What a loss is multiplied by so that its gradients do not vanish in float16, in the manner of PyTorch's GradScaler: a step whose
 * gradient is not finite is left out and halves it, many finite ones double it. All of that is decided on the device (by
 * `AdamW.step`); the host waits for nothing. Other than there it ends nowhere: below 1 it is not halved any more, and above 2^126 it does
 * not grow.
 */
export class LossScale {
  /** float32 [2]: the scale, and the finite steps in a row since it changed. */
  readonly state: Tensor
  /** The scale, []: to be given to `backward` as the gradient of the loss. */
  readonly value: Tensor
  readonly growthInterval: number

  /** @throws ArgumentError for a scale that is not from 2^-126 to 2^126, or counts that are no whole numbers from 0 to 2^24 */
  constructor(options: LossScaleOptions = {}) {
    checkOptions('LossScale', options, OPTIONS)
    const { initial = 65536, growthInterval = 2000, device = defaultDevice() } = options
    checkAdamW('LossScale', { growthInterval })
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
  }

  /** What makes another one like it, on any device. */
  async copy(): Promise<LossScaleCopy> {
    return { initial: await this.save(), growthInterval: this.growthInterval }
  }

  /** Reads the state. */
  async save(): Promise<LossScaleState> {
    const [scale, steady] = (await this.state.data()) as unknown as [number, number]
    return { scale, steady }
  }

  /** Overwrites the state. @throws ArgumentError for one that no loss scale has */
  restore(given: LossScaleState): void {
    const { scale, steady } = checkState('LossScale.restore', given)
    this.state.write(Float32Array.of(scale, steady))
  }

  dispose(): void {
    this.state.dispose()
    this.value.dispose()
  }
}

/** @throws ArgumentError for a state that no loss scale has */
function checkState(op: string, state: LossScaleState): LossScaleState {
  const { scale, steady } = (state ?? {}) as Partial<LossScaleState>
  if (typeof scale !== 'number' || !(scale >= LEAST_SCALE && scale <= MOST_SCALE))
    throw refusal(op, scale, 'a number from 2^-126 to 2^126', 'scale')
  if (!Number.isInteger(steady) || !(steady! >= 0 && steady! <= MOST_STEADY))
    throw refusal(op, steady, 'a whole number from 0 to 2^24', 'steady')
  return state
}
