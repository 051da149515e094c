// Attention and its gradients over so many keys or queries that their sums are long, against float64.
import { type Device, scaledDotProductAttention, type Tensor, tensor } from '../../engine/index.ts'
import { attention, keyValueGradient, queryGradient } from '../../kernels/attention/index.ts'
import type { KernelSpec } from '../../kernels/spec.ts'
import { testRandom } from '../harness/kernel.ts'

/** Elements of a head's row: ten million rows fit into a binding of 128 MiB. */
const WIDTH = 3
const SCALE = WIDTH ** -0.5
/** Of a sum of terms of one sign, relative. */
const TOLERANCE = 1e-6

/** One operand's values: positive, so that all terms of a sum have one sign. Scores stay small. */
type Values = (name: 'q' | 'k' | 'v' | 'dOut', random: () => number) => number

const lognormal = (random: () => number) =>
  Math.exp(2 * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()))

/** A constant is the worst case: its rounding errors have one sign. */
export const VALUES: readonly [name: string, values: Values][] = [
  ['0.1', () => 0.1],
  ['1/3', () => 1 / 3],
  ['uniform values', (_, random) => random()],
  ['lognormal values', (name, random) => (name === 'q' || name === 'k' ? random() : lognormal(random))],
]

type Matrix = Float32Array

function fill(rows: number, value: () => number): Matrix {
  return Float32Array.from({ length: rows * WIDTH }, value)
}

function dot(a: Matrix, i: number, b: Matrix, j: number): number {
  let sum = 0
  for (let d = 0; d < WIDTH; d++) sum += a[i * WIDTH + d]! * b[j * WIDTH + d]!
  return sum
}

/** Adds factor * row i of `from` to row j of `to`. */
function addRow(to: Float64Array, j: number, factor: number, from: Matrix, i: number): void {
  for (let d = 0; d < WIDTH; d++) to[j * WIDTH + d]! += factor * from[i * WIDTH + d]!
}

/** Attention and its gradients in float64. */
function reference(q: Matrix, k: Matrix, v: Matrix, dOut: Matrix) {
  const [queries, keys] = [q.length / WIDTH, k.length / WIDTH]
  const [out, dq, dk, dv] = [q, q, k, k].map((rows) => new Float64Array(rows.length)) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ]
  const weights = new Float64Array(keys)
  for (let i = 0; i < queries; i++) {
    let total = 0
    for (let j = 0; j < keys; j++) {
      weights[j] = Math.exp(SCALE * dot(q, i, k, j))
      total += weights[j]!
    }
    for (let j = 0; j < keys; j++) addRow(out, i, weights[j]! / total, v, j)
    let delta = 0
    for (let d = 0; d < WIDTH; d++) delta += dOut[i * WIDTH + d]! * out[i * WIDTH + d]!
    for (let j = 0; j < keys; j++) {
      const share = weights[j]! / total
      const ds = share * (dot(dOut, i, v, j) - delta) * SCALE
      addRow(dq, i, ds, k, j)
      addRow(dk, j, ds, q, i)
      addRow(dv, j, share, dOut, i)
    }
  }
  return { out, dq, dk, dv }
}

function assertNear(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!) / Math.abs(expected[i]!)
    // Where the sum has no terms.
    if (expected[i] === 0 && actual[i] === 0) continue
    if (!(error <= TOLERANCE))
      throw new Error(`${what}[${i}]: got ${actual[i]}, expected ${expected[i]}: ${error.toExponential(2)} off`)
  }
}

/** Variants of the kernels that run on a device. */
export function variantsOn(device: Device): string[] {
  const shape = { batch: 1, heads: 1, queries: 1, keys: 1, width: WIDTH, scale: SCALE }
  return attention.variants
    .filter(({ supports }) => supports?.(device.capabilities, shape as never) ?? true)
    .map(({ name }) => name)
}

async function pinned<T>(device: Device, variant: string, body: () => Promise<T>): Promise<T> {
  const specs: KernelSpec[] = [attention, queryGradient, keyValueGradient]
  for (const { name } of specs) device.kernels.pinned.set(name, variant)
  try {
    return await body()
  } finally {
    for (const { name } of specs) device.kernels.pinned.delete(name)
  }
}

/** Values [1, 1, T, WIDTH] on the device. */
function upload(device: Device, values: Matrix, requiresGrad: boolean): Tensor {
  return tensor(values, { shape: [1, 1, values.length / WIDTH, WIDTH], requiresGrad, device })
}

/** Operands, and what attention makes of them in float64. */
export interface Sums {
  q: Matrix
  k: Matrix
  v: Matrix
  dOut: Matrix
  names: readonly Name[]
  expected: Record<Name, Float64Array>
}

type Name = 'out' | 'dq' | 'dk' | 'dv'

/**
 * Few queries over `count` keys: the output, and the gradient of the queries where all its terms have one sign. For that a half of the values
 * is 0, and so are their keys.
 */
export function manyKeys(count: number, values: Values): Sums[] {
  const random = testRandom(3)
  const queries = 2
  const [q, dOut] = [fill(queries, () => values('q', random)), fill(queries, () => values('dOut', random))]
  const [k, v] = [fill(count, () => values('k', random)), fill(count, () => values('v', random))]
  const isZero = (i: number) => Math.floor(i / WIDTH) % 2 === 0
  return [
    sums(q, k, v, dOut, ['out']),
    sums(
      q,
      k.map((x, i) => (isZero(i) ? 0 : x)),
      v.map((_, i) => (isZero(i) ? 0 : 1)),
      dOut,
      ['dq'],
    ),
  ]
}

/** `count` queries over few keys, of which one has a value: the gradients of keys and values. */
export function manyQueries(count: number, values: Values): Sums[] {
  const random = testRandom(5)
  const keys = 3
  const [q, dOut] = [fill(count, () => values('q', random)), fill(count, () => values('dOut', random))]
  const k = fill(keys, () => values('k', random))
  return [sums(q, k, new Float32Array(keys * WIDTH).fill(1, 0, WIDTH), dOut, ['dk', 'dv'])]
}

function sums(q: Matrix, k: Matrix, v: Matrix, dOut: Matrix, names: readonly Name[]): Sums {
  return { q, k, v, dOut, names, expected: reference(q, k, v, dOut) }
}

/** Fails where a variant is further off than rounding of single terms is. */
export async function checkSums(device: Device, variant: string, all: readonly Sums[]): Promise<void> {
  for (const { names, expected, ...operands } of all) await compare(device, variant, operands, names, expected)
}

async function compare(
  device: Device,
  variant: string,
  operands: Pick<Sums, 'q' | 'k' | 'v' | 'dOut'>,
  names: readonly Name[],
  expected: Sums['expected'],
): Promise<void> {
  const q = upload(device, operands.q, names.includes('dq'))
  const k = upload(device, operands.k, names.includes('dk'))
  const v = upload(device, operands.v, names.includes('dv'))
  const dOut = upload(device, operands.dOut, false)
  await pinned(device, variant, async () => {
    const out = scaledDotProductAttention(q, k, v)
    if (!names.includes('out')) out.backward(dOut)
    const tensors = { out, dq: q.grad, dk: k.grad, dv: v.grad }
    for (const name of names) assertNear(await tensors[name]!.data(), expected[name], `${name}, ${variant}`)
    for (const t of [out, q, k, v, dOut]) t.dispose()
  })
}
