/** AdamW over one parameter in float64, in PyTorch's form, with which optimizers are compared. */
export class ReferenceAdamW {
  readonly m: Float64Array
  readonly v: Float64Array
  readonly decay: number
  readonly betas: readonly [number, number]
  readonly eps: number
  t = 0

  constructor(size: number, { decay = 0.05, betas = [0.9, 0.999] as readonly [number, number], eps = 1e-8 } = {}) {
    this.m = new Float64Array(size)
    this.v = new Float64Array(size)
    this.decay = decay
    this.betas = betas
    this.eps = eps
  }

  /** Updates `values` in place by one step on the gradient multiplied by `factor`. */
  step(values: Float64Array, gradient: ArrayLike<number>, lr: number, factor = 1): void {
    const [beta1, beta2] = this.betas
    this.t++
    const [stepSize, correction] = [lr / (1 - beta1 ** this.t), 1 / Math.sqrt(1 - beta2 ** this.t)]
    for (let i = 0; i < values.length; i++) {
      const g = gradient[i]! * factor
      this.m[i] = beta1 * this.m[i]! + (1 - beta1) * g
      this.v[i] = beta2 * this.v[i]! + (1 - beta2) * g * g
      values[i] = values[i]! * (1 - lr * this.decay) - (stepSize * this.m[i]!) / (Math.sqrt(this.v[i]!) * correction + this.eps)
    }
  }
}

/** The factor by which clipping to a norm multiplies gradients. */
export function clipFactor(gradients: readonly ArrayLike<number>[], maxNorm: number): number {
  const squares = gradients.flatMap((gradient) => Array.from(gradient, (value) => value * value))
  return Math.min(1, maxNorm / (Math.sqrt(squares.reduce((sum, square) => sum + square, 0)) + 1e-6))
}
