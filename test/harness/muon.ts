/** Muon over one weight in float64, as the authors' implementation (https://github.com/KellerJordan/Muon), for comparison. */
export class ReferenceMuon {
  readonly m: Float64Array
  readonly rows: number
  readonly cols: number
  readonly decay: number
  readonly momentum: number
  readonly nesterov: boolean

  constructor(rows: number, cols: number, { decay = 0, momentum = 0.95, nesterov = true } = {}) {
    this.m = new Float64Array(rows * cols)
    this.rows = rows
    this.cols = cols
    this.decay = decay
    this.momentum = momentum
    this.nesterov = nesterov
  }

  /** Updates `values` in place by one step on the gradient multiplied by `factor`. */
  step(values: Float64Array, gradient: ArrayLike<number>, lr: number, factor = 1): void {
    const { momentum, rows, cols } = this
    const update = values.map((_, i) => {
      const g = gradient[i]! * factor
      this.m[i] = momentum * this.m[i]! + (1 - momentum) * g
      return this.nesterov ? momentum * this.m[i]! + (1 - momentum) * g : this.m[i]!
    })
    const scale = Math.sqrt(Math.max(1, rows / cols))
    for (const [i, direction] of newtonSchulz(update, rows, cols).entries())
      values[i] = values[i]! * (1 - lr * this.decay) - lr * scale * direction
  }
}

/** Multiplies [m, k] by [k, n]. */
function product(a: Float64Array, b: Float64Array, m: number, k: number, n: number): Float64Array {
  return Float64Array.from({ length: m * n }, (_, at) => {
    let sum = 0
    for (let i = 0; i < k; i++) sum += a[Math.floor(at / n) * k + i]! * b[i * n + (at % n)]!
    return sum
  })
}

function transpose(a: Float64Array, rows: number, cols: number): Float64Array {
  return Float64Array.from({ length: a.length }, (_, at) => a[(at % rows) * cols + Math.floor(at / rows)]!)
}

/** zeropower_via_newtonschulz5 of the authors, without rounding to bfloat16. */
export function newtonSchulz(g: Float64Array, rows: number, cols: number): Float64Array {
  const [a, b, c] = [3.4445, -4.775, 2.0315]
  if (rows > cols) return transpose(newtonSchulz(transpose(g, rows, cols), cols, rows), cols, rows)
  const norm = Math.sqrt(g.reduce((sum, value) => sum + value * value, 0)) + 1e-7
  let x = g.map((value) => value / norm)
  for (let i = 0; i < 5; i++) {
    const gram = product(x, transpose(x, rows, cols), rows, cols, rows)
    const squared = product(gram, gram, rows, rows, rows)
    const polynomial = gram.map((value, at) => b! * value + c! * squared[at]!)
    const moved = product(polynomial, x, rows, rows, cols)
    x = x.map((value, at) => a! * value + moved[at]!)
  }
  return x
}
