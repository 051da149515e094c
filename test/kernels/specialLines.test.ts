// Kernels along lines for special values at every place of a line: softmax, cross-entropy, reductions, running sums, LayerNorm, RMSNorm.
import { NAN_BITS } from '../../kernels/crossEntropy/index.ts'
import { layerNormReference } from '../../kernels/layerNorm/reference.ts'
import { rowMajor, withChunk } from '../../kernels/reduce/index.ts'
import { rmsNormReference } from '../../kernels/rmsNorm/reference.ts'
import { softmaxReference } from '../../kernels/softmax/reference.ts'
import { kernelDevice } from '../harness/device.ts'
import { HIGHEST, INFINITY, NAN, type SpecialCase, specialRows, testSpecial } from '../harness/specialValues.ts'
import { suite } from '../harness/suite.ts'

const on = await kernelDevice()
const { test, run } = suite(`special values along lines on ${on.summary.name}`)
const check = (special: SpecialCase) => testSpecial(on, test, special)

/** Lays rows out as the lines of [outer, n, inner]. */
function lines(rows: readonly number[][], inner: number): { outer: number; n: number; inner: number; x: number[] } {
  const [outer, n] = [rows.length / inner, rows[0]!.length]
  const x = new Array<number>(rows.length * n)
  for (const [r, row] of rows.entries()) {
    for (const [j, value] of row.entries()) x[(Math.floor(r / inner) * n + j) * inner + (r % inner)] = value
  }
  return { outer, n, inner, x }
}

const ALONG: readonly [n: number, inner: number][] = [
  [7, 1],
  [8, 1],
  [300, 1],
  [5, 4],
]
const cotangent = (size: number) => Array.from({ length: size }, (_, i) => ((i * 31) % 17) / 8 - 1)

for (const [n, inner] of ALONG) {
  const { outer, x } = lines(specialRows(n), inner)
  const size = x.length
  const name = `[${outer}, ${n}, ${inner}]`
  for (const log of [false, true]) {
    const problem = { outer, n, inner, log }
    check({ kernel: 'softmax', name: `${name} log ${log}`, problem, inputs: { x }, outputs: { y: size }, tolerance: 1e-6 })
    const inputs = { x: Float64Array.from(x, Math.fround), y: new Float64Array(size) }
    const y = softmaxReference(problem, inputs).y!
    const backward = { kernel: 'softmaxBackward', problem, outputs: { dx: size }, tolerance: 1e-4 }
    check({ ...backward, name: `${name} log ${log}`, inputs: { y, dy: cotangent(size) } })
    const plain = { x: Float64Array.from({ length: size }, (_, i) => (i % 5) / 4), y: new Float64Array(size) }
    // Whether a sum with the lowest or the highest number overflows depends on its order.
    const dy = x.map((value) => (Math.abs(value) === HIGHEST ? 1 : value))
    check({ ...backward, name: `${name} log ${log}, gradient`, inputs: { y: softmaxReference(problem, plain).y!, dy } })
  }

  const cumsum = x.map((value) => (Math.abs(value) === HIGHEST ? value / 1024 : value))
  for (const chunk of n > 100 ? [n, 64] : [n]) {
    const chunks = Math.ceil(n / chunk)
    const sums = Array.from({ length: outer * chunks * inner }, (_, i) => [1, -2, INFINITY, 0.5, NAN, -INFINITY, 3][i % 7]!)
    for (const reverse of [false, true]) {
      const problem = { outer, n, inner, chunk, chunks, reverse }
      const [where, inputs] = [`${name} in ${chunks}, reverse ${reverse}`, { x: cumsum, sums }]
      check({ kernel: 'cumsum', name: where, problem, inputs, outputs: { y: size }, tolerance: 1e-4 })
    }
  }
  const whole = rowMajor(outer, n, inner)
  for (const reduction of n > 100 ? [whole, withChunk(whole, 148)] : [whole]) {
    const count = outer * reduction.chunks * inner
    const where = `${name} in ${reduction.chunks}`
    const sum = { kernel: 'sum', problem: { ...reduction, scale: 0.25 }, inputs: { input: cumsum }, outputs: { output: count } }
    check({ ...sum, name: where, tolerance: 1e-4 })
    const outputs = { values: count, indices: count }
    check({ kernel: 'max', name: where, problem: reduction, inputs: { input: x }, outputs })
  }
}

// The kernel that combines the pieces of a split maximum, in lines of 7 pieces.
const pieces = lines(specialRows(7), 4)
const pieceIndices = pieces.x.map((_, i) => 10 * Math.floor(i / 4))
check({
  kernel: 'maxCombine',
  name: 'pieces',
  problem: { outer: pieces.outer, chunks: 7, inner: 4 },
  inputs: { pieceValues: pieces.x, pieceIndices },
  outputs: { values: 4 * pieces.outer, indices: 4 * pieces.outer },
})

for (const classes of [7, 8, 300]) {
  const rows = specialRows(classes)
  const logits = rows.flat()
  const labels = rows.map((_, i) => (i < 5 ? [-1, classes, 2 ** 31 - 1, -(2 ** 31), 0][i]! : (i * 5) % classes))
  const shape = { rows: rows.length, classes, nan: NAN_BITS, labelRows: rows.length }
  const name = `[${rows.length}, ${classes}]`
  const outputs = { losses: rows.length, statistics: 2 * rows.length }
  const inputs = { logits, labels }
  // For a row with NaN the saved statistics may have any maximum.
  check({ kernel: 'crossEntropy', name, problem: shape, inputs, outputs, free: ['statistics'], tolerance: 1e-5 })
  check({
    kernel: 'crossEntropyGradient',
    name,
    problem: { ...shape, scale: 0.5 },
    inputs,
    outputs: { losses: rows.length, dlogits: logits.length },
    tolerance: 1e-5,
  })
  const statistics = rows.flatMap((row) => {
    const largest = Math.max(-HIGHEST, ...row.filter((value) => !Number.isNaN(value)))
    const sum = row.reduce((total, value) => total + Math.exp(value - largest), 0)
    return [largest, sum > 0 && sum < INFINITY ? sum : NAN]
  })
  const problem = { ...shape, gradientRows: 1, scale: 0.5 }
  const gradient = rows.map((_, i) => (i % 11 === 10 ? NAN : 1 + i / 8))
  const backward = { logits, labels, statistics, gradient }
  check({
    kernel: 'crossEntropyBackward',
    name,
    problem,
    inputs: backward,
    outputs: { dlogits: logits.length },
    tolerance: 1e-5,
  })
}

for (const n of [7, 300]) {
  // The variance of a spread of 1e30 overflows float32; that of constant rows is 0.
  const rows = [
    ...specialRows(n).filter((row) => !row.some((value) => Math.abs(value) === HIGHEST)),
    ...[1e30, 1e15, 0].map((spread) => Array.from({ length: n }, (_, i) => 3 + spread * ((i % 5) - 2))),
  ]
  const shape = { rows: rows.length, n, xOffset: 0, xStride: n }
  const x = rows.flat()
  const weight = Array.from({ length: n }, (_, i) => 1 + (i % 3))
  const bias = Array.from({ length: n }, (_, i) => (i % 4) - 1.5)
  const sizes = { y: x.length, center: rows.length, rstd: rows.length }
  const name = `[${rows.length}, ${n}]`
  const problem = { ...shape, eps: 1e-5 }
  // The center of a row that gives NaN may have any value.
  const free = ['center']
  check({ kernel: 'layerNorm', name, problem, inputs: { x, weight, bias }, outputs: sizes, free, tolerance: 1e-4 })

  const arrays = Object.fromEntries([
    ...Object.entries({ x, weight, bias }).map(([key, values]) => [key, Float64Array.from(values, Math.fround)]),
    ...Object.entries(sizes).map(([key, size]) => [key, new Float64Array(size)]),
  ])
  const { center, rstd } = layerNormReference(problem, arrays)
  const backward = { ...shape, input: true, chunks: 1, weightOffset: 0, toBias: n }
  const outputs = { dx: x.length, sums: 2 * n }
  const inputs = { x, weight, center: center!, rstd: rstd!, dy: cotangent(x.length) }
  check({ kernel: 'layerNormBackward', name, problem: backward, inputs, outputs, tolerance: 1e-2 })
  // In ordinary rows, NaN in a gradient gives NaN in its own row and in its own column of the parameters' gradients, and
  // nowhere else.
  const plain = { ...backward, rows: 4 }
  const dy = cotangent(4 * n)
  dy[n - 1] = NAN
  dy[2 * n] = INFINITY
  const ordinary = Array.from({ length: 4 * n }, (_, i) => ((i * 13) % 29) / 8)
  const ones = [1, 1, 1, 1]
  const gradientInputs = { x: ordinary, weight, center: ones, rstd: ones, dy }
  const plainOutputs = { dx: 4 * n, sums: 2 * n }
  check({
    kernel: 'layerNormBackward',
    name: `${name}, gradient`,
    problem: plain,
    inputs: gradientInputs,
    outputs: plainOutputs,
    tolerance: 1e-2,
  })
}

for (const n of [7, 300]) {
  // The squares of 1e20 overflow float32.
  const rows = [...specialRows(n), ...[1e20, 1e15, 0].map((value) => new Array<number>(n).fill(value))]
  const shape = { rows: rows.length, n, xOffset: 0, xStride: n }
  const x = rows.flat()
  const weight = Array.from({ length: n }, (_, i) => (n > 7 && i === 5 ? NAN : 1 + (i % 3)))
  const name = `[${rows.length}, ${n}]`
  const problem = { ...shape, eps: 1e-6 }
  const outputs = { y: x.length, rstd: rows.length }
  check({ kernel: 'rmsNorm', name, problem, inputs: { x, weight }, outputs, tolerance: 1e-5 })

  const operands = { x: Float64Array.from(x, Math.fround), weight: Float64Array.from(weight) }
  const rstd = rmsNormReference(problem, { ...operands, y: new Float64Array(x.length), rstd: new Float64Array(rows.length) })
    .rstd!
  const plain = Array.from({ length: n }, (_, i) => 1 + (i % 3))
  const dy = cotangent(x.length)
  dy[n - 1] = NAN
  dy[(rows.length - 1) * n] = INFINITY
  check({
    kernel: 'rmsNormBackward',
    name,
    problem: { ...shape, terms: true },
    inputs: { x, weight: plain, rstd, dy },
    outputs: { dx: x.length, terms: x.length },
    tolerance: 1e-3,
  })
}

test('ends', () => on.device.destroy())
run()
