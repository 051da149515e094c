import { unaryFunctions } from '../elementwise/reference.ts'
import { philox4x32 } from '../random/philox.ts'
import type { Arrays } from '../spec.ts'
import { type BatchView, EPILOGUE, type Matmul } from './problem.ts'

const { f: gelu, derivative: geluGrad } = unaryFunctions.gelu

function batchOffset([offset, s0, s1, s2]: BatchView, batch: number, { batch1, batch2 }: Matmul): number {
  const outer = Math.floor(batch / batch2)
  return offset + Math.floor(outer / batch1) * s0 + (outer % batch1) * s1 + (batch % batch2) * s2
}

/** Applies the epilogue to a value of the product and stores it. */
function store(p: Matmul, arrays: Arrays, batch: number, row: number, column: number, at: number, product: number): void {
  const { bias, aux, c, pre } = arrays as Record<string, Float64Array>
  const has = (flag: number) => (p.flags & flag) !== 0
  const other = aux![batchOffset(p.aux, batch, p) + row * p.auxRow + column]!
  let value = product
  if (has(EPILOGUE.bias)) value += bias![column]!
  if (has(EPILOGUE.pre)) pre![at] = value
  if (has(EPILOGUE.gelu)) value = gelu(value)
  if (has(EPILOGUE.geluGrad)) value *= geluGrad(other)
  if (has(EPILOGUE.dropout)) value = wordOf(p, at) >= p.threshold! ? value * Math.fround(p.keep!) : value * 0
  if (has(EPILOGUE.add)) value += other
  c![at] = value
}

/** The random word of an element of C. */
function wordOf({ seedLow, seedHigh, streamLow, streamHigh }: Matmul, at: number): number {
  return philox4x32([Math.floor(at / 4), 0, streamLow!, streamHigh!], [seedLow!, seedHigh!])[at % 4]!
}

export function matmulReference(p: Matmul, arrays: Arrays): Arrays {
  const { a, b } = arrays as { a: Float64Array; b: Float64Array }
  const { aRow, aCol, bRow, bCol } = p
  for (let split = 0; split < p.splits; split++) {
    const begin = split * p.chunk
    const end = Math.min(begin + p.chunk, p.k)
    for (let batch = 0; batch < p.batches; batch++) {
      const a0 = batchOffset(p.a, batch, p)
      const b0 = batchOffset(p.b, batch, p)
      for (let row = 0; row < p.m; row++) {
        for (let column = 0; column < p.n; column++) {
          const left = a0 + row * aRow
          const right = b0 + column * bCol
          let sum = 0
          for (let k = begin; k < end; k++) sum += a[left + k * aCol]! * b[right + k * bRow]!
          const at = ((split * p.batches + batch) * p.m + row) * p.n + column
          store(p, arrays, batch, row, column, at, sum)
        }
      }
    }
  }
  return arrays
}

export function combineReference(p: Matmul, arrays: Arrays): Arrays {
  const partials = arrays.partials!
  const size = p.batches * p.m * p.n
  for (let at = 0; at < size; at++) {
    let sum = 0
    for (let split = 0; split < p.splits; split++) sum += partials[split * size + at]!
    const row = Math.floor(at / p.n)
    store(p, arrays, Math.floor(row / p.m), row % p.m, at % p.n, at, sum)
  }
  return arrays
}
