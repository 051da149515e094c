import type { AxisView } from '../../kernels/axisView.ts'
import * as kernels from '../../kernels/order/index.ts'
import { castDetached } from '../autograd/cast.ts'
import { defineOp, noGrad } from '../autograd/tape.ts'
import type { Shape } from '../layout/shape.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'
import { axisViewOf } from './reduceDims.ts'

/** A request for an order: the first `count` indices along a dim. */
export interface Asked {
  dim: number
  count: number
  descending: boolean
  /** Whether NaN comes first; else it comes last, in both directions. */
  nanFirst: boolean
}

/** Elements in some order: pairs of key and index [outer * inner, n] of an earlier pass, or x itself. */
interface Elements {
  t: Tensor
  n: number
  pairs: boolean
}

/** Makes memory for `count` pairs. */
function pairsOf(count: number, { device }: Tensor): Tensor {
  return empty([count, 2], 'int32', device)
}

/** Launches a kernel from elements to pairs, or to the indices that are the result where this pass is the last. */
class Passes {
  readonly #order: kernels.Order
  readonly #x: Tensor
  readonly #indices: Tensor

  constructor(order: kernels.Order, x: Tensor, indices: Tensor) {
    this.#order = order
    this.#x = x
    this.#indices = indices
  }

  /** Binds the elements of a pass and its results; what the pass does not use is bound to memory of its own. */
  #launch<P extends kernels.Order>(
    spec: Parameters<typeof run<P>>[0],
    problem: P & { pairs: boolean; last: boolean },
    from: Tensor,
    made: number,
  ): Tensor {
    const unused = () => empty([2], 'int32', this.#x.device)
    const out = problem.last ? unused() : pairsOf(made, this.#x)
    const [x, before] = problem.pairs ? [this.#x, from] : [from, this.#x]
    run(spec, problem, [x, before, out, problem.last ? this.#indices : unused()])
    return problem.last ? this.#indices : out
  }

  get #lines(): number {
    return this.#order.outer * this.#order.inner
  }

  /** Sorts runs and keeps the first `keep` of each, or all. */
  runs({ t, n, pairs }: Elements, run: number, keep = run): Elements {
    const whole = keep >= run
    const kept = whole ? n : Math.ceil(n / run) * keep
    const problem = { ...this.#order, n, run, keep, pairs, last: n <= run }
    return { t: this.#launch(kernels.sortRuns, problem, t, this.#lines * kept), n: kept, pairs: true }
  }

  /** Merges sorted runs of pairs until there is one. */
  merge({ t, n }: Elements, runLength: number): void {
    let [from, length] = [t, runLength]
    for (; length < n; length *= 2) {
      const { outer, inner } = this.#order
      const last = 2 * length >= n
      const unused = () => empty([2], 'int32', this.#x.device)
      const [out, indices] = last ? [unused(), this.#indices] : [pairsOf(this.#lines * n, this.#x), unused()]
      run(kernels.mergeRuns, { outer, n, inner, run: length, last }, [from, out, indices])
      from = out
    }
  }

  /** Keeps the first k that threads find. */
  select({ t, n, pairs }: Elements, k: number): Elements {
    const chunks = kernels.selectChunks({ ...this.#order, n }, k)
    const problem = { ...this.#order, n, k, chunks, pairs, last: chunks === 1 }
    return { t: this.#launch(kernels.selectTop, problem, t, this.#lines * chunks * k), n: chunks * k, pairs: true }
  }
}

/** Writes the first `count` indices of each line of the contiguous x, float32 or int32, in order into `indices`. */
function orderInto(indices: Tensor, x: Tensor, axis: AxisView, { count, descending, nanFirst }: Asked): void {
  const { capabilities } = x.device
  const dtype = x.dtype === 'int32' ? 'i32' : 'f32'
  const passes = new Passes({ ...axis, dtype, descending, nanFirst }, x, indices)
  let elements: Elements = { t: x, n: axis.n, pairs: false }
  const run = kernels.runLength(capabilities, axis.n)
  if (count < axis.n && capabilities.software) {
    for (; elements.t !== indices; ) elements = passes.select(elements, count)
  } else if (count < axis.n) {
    for (; elements.t !== indices; ) elements = passes.runs(elements, kernels.runLength(capabilities, elements.n), count)
  } else {
    elements = passes.runs(elements, run)
    if (elements.t !== indices) passes.merge(elements, run)
  }
}

const op = defineOp<[Tensor], { asked: Asked; shape: Shape }>({
  name: 'argsort',
  forward(_ctx, [input], { asked, shape }) {
    const x = castDetached(input, input.dtype === 'float16' ? 'float32' : input.dtype).contiguous()
    const indices = empty(shape, 'int32', x.device)
    orderInto(indices, x, axisViewOf('argsort', x.shape, asked.dim), asked)
    return indices
  },
})

/** Whether the first `count` of n are found without sorting all. */
function selects(x: Tensor, count: number, n: number): boolean {
  const { capabilities } = x.device
  if (capabilities.software || capabilities.maxInvocations < 256) return count <= kernels.MOST_SELECTED && 2 * count <= n
  return count <= 256 && 2 * count <= n
}

/** The int32 indices of the first `asked.count` elements along a dim, which is counted from the front, off the tape. */
export function orderOf(x: Tensor, asked: Asked): Tensor {
  const n = x.shape[asked.dim] ?? 1
  const count = selects(x, asked.count, n) ? asked.count : n
  const shape = x.ndim === 0 ? [] : x.shape.with(asked.dim, count)
  return noGrad(() => op([x], { asked: { ...asked, count }, shape }))
}

/** The positions [count] of the elements of a contiguous tensor, sorted by element, off the tape; equal ones stay in order. */
export function stableOrder(t: Tensor): Tensor {
  const flat = view(t, { shape: [t.size], strides: [1] })
  return orderOf(flat, { dim: 0, count: t.size, descending: false, nanFirst: false })
}
