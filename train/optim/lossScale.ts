import { type Device, defaultDevice, scope, type Tensor, tensor, withoutScope } from '../../engine/index.ts'

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

/**
 * What a loss is multiplied by so that its gradients do not vanish in float16, in the manner of PyTorch's GradScaler: a step whose
 * gradient is not finite is left out and halves it, many finite ones double it. All of that is decided on the device (by
 * `AdamW.step`); the host waits for nothing.
 */
export class LossScale {
  /** float32 [2]: the scale, and the finite steps in a row since it changed. */
  readonly state: Tensor
  /** The scale, []: to be given to `backward` as the gradient of the loss. */
  readonly value: Tensor
  readonly growthInterval: number

  constructor({ initial = 65536, growthInterval = 2000, device = defaultDevice() }: LossScaleOptions = {}) {
    const { scale, steady } = typeof initial === 'number' ? { scale: initial, steady: 0 } : initial
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

  /** Overwrites the state. */
  restore({ scale, steady }: LossScaleState): void {
    this.state.write(Float32Array.of(scale, steady))
  }

  dispose(): void {
    this.state.dispose()
    this.value.dispose()
  }
}
