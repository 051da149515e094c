/** Lion over one parameter in float64, as algorithm 2 of arXiv 2302.06675, with which optimizers are compared. */
export class ReferenceLion {
  readonly m: Float64Array
  readonly decay: number
  readonly betas: readonly [number, number]

  constructor(size: number, { decay = 0, betas = [0.9, 0.99] as readonly [number, number] } = {}) {
    this.m = new Float64Array(size)
    this.decay = decay
    this.betas = betas
  }

  /** Updates `values` in place by one step on the gradient multiplied by `factor`. */
  step(values: Float64Array, gradient: ArrayLike<number>, lr: number, factor = 1): void {
    const [beta1, beta2] = this.betas
    for (let i = 0; i < values.length; i++) {
      const g = gradient[i]! * factor
      values[i] = values[i]! * (1 - lr * this.decay) - lr * Math.sign(beta1 * this.m[i]! + (1 - beta1) * g)
      this.m[i] = beta2 * this.m[i]! + (1 - beta2) * g
    }
  }
}
