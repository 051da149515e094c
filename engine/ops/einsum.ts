import { promoteTypes } from '../autograd/autocast.ts'
import { refusal } from '../base/checks.ts'
import { isFloat } from '../layout/dtype.ts'
import { sizeOf } from '../layout/shape.ts'
import { checkTensors, mismatch } from '../tensor/arguments.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { diagonalOf } from './diagonal.ts'
import { type Labels, parseEquation } from './einsumLabels.ts'
import { mul } from './elementwise.ts'
import { matmul } from './matmul.ts'
import { sum } from './reduce.ts'
import { permute, reshape } from './shape.ts'

/** A tensor whose dims have labels, each another one. */
interface Labelled {
  t: Tensor
  labels: Labels
}

type Sizes = ReadonlyMap<string, number>

/** Orders the dims of a tensor as `labels` says, which has each label of the tensor once. */
function ordered({ t, labels }: Labelled, order: Labels): Tensor {
  if (order.every((label, d) => label === labels[d])) return t
  return permute(
    t,
    order.map((label) => labels.indexOf(label)),
  )
}

/** Takes diagonals along repeated labels, and drops dims of size 1 of labels that are longer elsewhere. */
function simplified(t: Tensor, labels: Labels, sizes: Sizes): Labelled {
  const kept = labels.flatMap((label, d) => (t.shape[d] === sizes.get(label) ? [d] : []))
  const x =
    kept.length === labels.length
      ? t
      : reshape(
          t,
          kept.map((d) => t.shape[d]!),
        )
  const own = kept.map((d) => labels[d]!)
  const distinct = [...new Set(own)]
  if (distinct.length === own.length) return { t: x, labels: own }
  const targets = own.map((label) => distinct.indexOf(label))
  return { t: diagonalOf([x], { shape: distinct.map((label) => sizes.get(label)!), targets }), labels: distinct }
}

/** Sums over the labels that nothing else needs. */
function summed({ t, labels }: Labelled, needed: ReadonlySet<string>): Labelled {
  const dims = labels.flatMap((label, d) => (needed.has(label) ? [] : [d]))
  return dims.length === 0 ? { t, labels } : { t: sum(t, dims), labels: labels.filter((label) => needed.has(label)) }
}

/** The labels of a pair by what becomes of them in the product. */
function rolesOf(a: Labels, b: Labels, needed: ReadonlySet<string>) {
  const shared = a.filter((label) => b.includes(label))
  return {
    batch: shared.filter((label) => needed.has(label)),
    contracted: shared.filter((label) => !needed.has(label)),
    left: a.filter((label) => !b.includes(label)),
    right: b.filter((label) => !a.includes(label)),
  }
}

/** The product of two tensors, summed over the labels that nothing else needs: one batched matrix product, or broadcast arithmetic. */
function product(a: Labelled, b: Labelled, needed: ReadonlySet<string>, sizes: Sizes): Labelled {
  const [x, y] = [a, b].map((operand, i) => summed(operand, new Set([...needed, ...[b, a][i]!.labels]))) as [Labelled, Labelled]
  const { batch, contracted, left, right } = rolesOf(x.labels, y.labels, needed)
  const shape = (labels: Labels) => labels.map((label) => sizes.get(label)!)
  if (contracted.length > 0 && isFloat(x.t.dtype)) {
    const [m, k, n] = [left, contracted, right].map((labels) => sizeOf(shape(labels))) as [number, number, number]
    const rows = reshape(ordered(x, [...batch, ...left, ...contracted]), [...shape(batch), m, k])
    const columns = reshape(ordered(y, [...batch, ...contracted, ...right]), [...shape(batch), k, n])
    const labels = [...batch, ...left, ...right]
    return { t: reshape(matmul(rows, columns), shape(labels)), labels }
  }
  const labels = [...batch, ...contracted, ...left, ...right]
  const ones = (list: Labels) => list.map(() => 1)
  const wide = reshape(ordered(x, [...batch, ...contracted, ...left]), [
    ...shape([...batch, ...contracted, ...left]),
    ...ones(right),
  ])
  const other = reshape(ordered(y, [...batch, ...contracted, ...right]), [
    ...shape([...batch, ...contracted]),
    ...ones(left),
    ...shape(right),
  ])
  return summed({ t: mul(wide, other), labels }, needed)
}

/** The two operands whose product is the smallest. */
function nextPair(operands: readonly Labelled[], output: Labels, sizes: Sizes): [number, number] {
  let [best, least] = [[0, 1] as [number, number], Number.POSITIVE_INFINITY]
  for (let i = 0; i < operands.length; i++) {
    for (let j = i + 1; j < operands.length; j++) {
      const needed = neededBy(operands, output, i, j)
      const labels = new Set([...operands[i]!.labels, ...operands[j]!.labels].filter((label) => needed.has(label)))
      const size = sizeOf([...labels].map((label) => sizes.get(label)!))
      if (size < least) [best, least] = [[i, j], size]
    }
  }
  return best
}

/** The labels that the result, or an operand other than i and j, has. */
function neededBy(operands: readonly Labelled[], output: Labels, i: number, j: number): Set<string> {
  return new Set([...output, ...operands.flatMap(({ labels }, k) => (k === i || k === j ? [] : labels))])
}

/**
 * Sums products by Einstein's convention, as NumPy's `einsum`: each label names a dim, labels that the result lacks are summed over, a label
 * that a term repeats takes the diagonal, and `...` stands for dims that broadcast. Products are batched matrix products of views where
 * they lie, two operands at a time, the smallest product first.
 * @param equation such as `'bhtd,bhsd->bhts'`; without an arrow the result has the labels that occur once, in alphabetical order
 * @param operands one for each term, of one dtype. Inside `autocast` products are computed in its dtype
 * @throws ShapeError for a text that is no equation, shapes that it does not fit, or several dtypes; ArgumentError for operands that are
 *   no tensors
 */
export function einsum(equation: string, ...operands: readonly Tensor[]): Tensor {
  if (operands.length === 0) throw refusal('einsum', undefined, 'a tensor for each term of the equation', 'operand 0')
  checkTensors('einsum', operands)
  const {
    operands: terms,
    output,
    sizes,
  } = parseEquation(
    equation,
    operands.map(({ shape }) => shape),
  )
  const tensors = promoteTypes(operands)
  if (tensors.some(({ dtype }) => dtype !== tensors[0]!.dtype))
    throw mismatch('einsum', tensors, 'tensors of one dtype; use cast()')
  let pending = tensors.map((t, i) => simplified(t, terms[i]!, sizes))
  while (pending.length > 1) {
    const [i, j] = nextPair(pending, output, sizes)
    const made = product(pending[i]!, pending[j]!, neededBy(pending, output, i, j), sizes)
    pending = [...pending.filter((_, k) => k !== i && k !== j), made]
  }
  const last = summed(pending[0]!, new Set(output))
  const result = ordered(last, output)
  return result === operands[0] ? reshape(result, result.shape) : result
}
