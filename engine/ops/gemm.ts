import { broadcastLayout, mergeDims, rowMajorStrides } from '../../kernels/layout.ts'
import * as kernels from '../../kernels/matmul/index.ts'
import { dropoutProblem } from '../../kernels/random/index.ts'
import type { RandomDraw } from '../autograd/recomputation.ts'
import type { Dtype } from '../layout/dtype.ts'
import { type Shape, sizeOf } from '../layout/shape.ts'
import { type Bindable, run } from '../tensor/run.ts'
import { operand, rowStrideOf } from '../tensor/strided.ts'
import { empty, type Tensor, view } from '../tensor/tensor.ts'

/** The steps between a product and its store, in this order. */
interface GemmEpilogue {
  /** A contiguous float32 [n] that is added to every row. */
  bias?: Tensor | undefined
  /** A contiguous tensor of the product's shape, which receives the value at this point. */
  pre?: Tensor | undefined
  /** Whether to apply GELU, the exact (erf) form. */
  gelu?: boolean | undefined
  /** A contiguous tensor of the product's shape: the value is multiplied by gelu' of it. It excludes `residual`. */
  geluGrad?: Tensor | undefined
  /** Dropout with probability p, as by the op `dropout`. */
  dropout?: { p: number; draw: RandomDraw } | undefined
  /** A float32 or float16 tensor that is added; it broadcasts to the product's shape. */
  residual?: Tensor | undefined
}

/** The operands as the kernel takes them: their bindings, and the sizes and strides of the problem. */
interface Arranged {
  a: Bindable
  b: Bindable
  aux: Bindable | undefined
  problem: Omit<kernels.Matmul, 'rows' | 'splits' | 'chunk' | 'flags'>
}

/**
 * Writes epilogue(a b) into `out`, off the tape. Views are read where they lie. Each operand is float32 or float16; sums accumulate in
 * float32.
 * @param out contiguous [..., m, n]
 * @param a broadcasts to [..., m, k]
 * @param b broadcasts to [..., k, n]
 */
export function gemm(out: Tensor, a: Tensor, b: Tensor, epilogue: GemmEpilogue = {}): void {
  const { device } = out
  const { bias, pre, gelu, geluGrad, dropout, residual } = epilogue
  const other = geluGrad ?? residual
  const { problem, ...bound } = arrange(out.shape, a, b, other) ?? arrangeCopies(out.shape, a, b, other)
  const split = kernels.splitK(device.capabilities, problem)
  const rows = kernels.rowsPerGroup({ ...problem, ...split })
  const steps = { bias, pre, gelu, geluGrad, dropout, add: residual }
  const names = Object.keys(steps) as (keyof typeof steps)[]
  const flags = names.reduce((sum, name) => sum | (steps[name] ? kernels.EPILOGUE[name] : 0), 0)
  // Unused bindings need memory too: an operand once more, or a buffer that nothing else touches.
  const unused = () => empty([1], 'float32', device)
  const aux = bound.aux ?? bound.a
  const target = pre ?? unused()
  const extras = [bias ?? (a.dtype === 'float32' ? bound.a : unused()), aux]
  const dtypes = halves({ a, b, aux, c: out, pre: target })
  const mask = dropoutParams(out.size, dropout)
  const whole: kernels.Matmul = { ...problem, ...split, rows, flags, ...mask, ...(dtypes && { dtypes }) }
  const update = dropout && { updateParams: () => dropout.draw.next() }
  if (split.splits === 1) {
    run(kernels.matmul, whole, [bound.a, bound.b, ...extras, out, target], update)
  } else {
    const partials = empty([split.splits, ...out.shape], 'float32', device) // [splits, ..., m, n]
    run(kernels.matmul, { ...whole, flags: 0 }, [bound.a, bound.b, ...extras, partials, target])
    run(kernels.matmulCombine, whole, [partials, ...extras, out, target], update)
  }
}

/** The kernel's parameters for dropout. */
function dropoutParams(count: number, dropout: GemmEpilogue['dropout']): Partial<kernels.Matmul> {
  if (!dropout) return {}
  const { p, draw } = dropout
  const { threshold, scale: keep } = dropoutProblem(count, p, draw.words)
  return { threshold, keep, ...draw.words }
}

/** The bindings that hold float16; undefined where none does. */
function halves(tensors: Record<keyof NonNullable<kernels.Matmul['dtypes']>, { dtype: Dtype }>): kernels.Matmul['dtypes'] {
  const half = Object.entries(tensors).filter(([, { dtype }]) => dtype === 'float16')
  return half.length > 0 ? Object.fromEntries(half.map(([name]) => [name, 'f16'])) : undefined
}

/** Arranges the operands as they lie; undefined where their strides do not suit the kernel. */
function arrange(shape: Shape, a: Tensor, b: Tensor, residual: Tensor | undefined): Arranged | undefined {
  const batch = shape.slice(0, -2)
  const [m, n] = shape.slice(-2) as [number, number]
  const k = a.shape.at(-1)!
  const left = operand(a, [...batch, m, k])
  const right = operand(b, [...batch, k, n])
  const aux = residual && operand(residual, shape)
  const [bRow, bCol] = right.layout.strides.slice(-2) as [number, number]
  if (aux && n > 1 && aux.layout.strides.at(-1) !== 1) return undefined
  // b repeats along m. Inner batch dims along which it repeats too become further rows, where those lie evenly spaced.
  const walks = [left.layout.strides, right.layout.strides.with(-2, 0), aux?.layout.strides ?? shape.map(() => 0)]
  const { dims, strides } = mergeDims([...batch, m], walks)
  const folds = dims.length > 0 && strides[1]!.at(-1) === 0
  const rows = folds ? dims.pop()! : 1
  const [aRow, , auxRow] = (folds ? strides.map((list) => list.pop()) : walks.map((list) => list.at(-2))) as [
    number,
    number,
    number,
  ]
  if (dims.length > 3) return undefined
  const [, batch1, batch2] = [1, 1, 1, ...dims].slice(-3) as [number, number, number]
  const view = (offset: number, steps: readonly number[]) => [offset, ...[0, 0, 0, ...steps].slice(-3)] as kernels.BatchView
  return {
    a: left.bound,
    b: right.bound,
    aux: aux?.bound,
    problem: {
      a: view(left.layout.offset, strides[0]!),
      b: view(right.layout.offset, strides[1]!),
      aux: view(aux?.layout.offset ?? 0, strides[2]!),
      m: rows,
      n,
      k,
      batches: sizeOf(dims),
      batch1,
      batch2,
      aRow,
      aCol: left.layout.strides.at(-1)!,
      bRow,
      bCol,
      auxRow,
    },
  }
}

/** Arranges row-major copies of the operands, broadcast along the batch dims, which then merge into one. */
function arrangeCopies(shape: Shape, a: Tensor, b: Tensor, residual: Tensor | undefined): Arranged {
  const copy = (t: Tensor, to: Shape) => view(t, broadcastLayout(t, to)).contiguous()
  const batch = shape.slice(0, -2)
  const copies = [a, b].map((t) => copy(t, [...batch, ...t.shape.slice(-2)])) as [Tensor, Tensor]
  return arrange(shape, ...copies, residual && copy(residual, shape))!
}

/** Reshapes [..., n] to [rows, n]: a view if the rows lie evenly spaced, else a copy. */
export function asRows(t: Tensor): Tensor {
  const n = t.shape.at(-1)!
  const count = sizeOf(t.shape.slice(0, -1))
  const stride = rowStrideOf(t)
  if (stride === undefined) return asRows(t.contiguous())
  return view(t, { shape: [count, n], strides: [stride, t.strides.at(-1)!] })
}

/** Makes a view with the last two dims swapped. */
export function transposed(t: Tensor): Tensor {
  const swap = (list: Shape) => [...list.slice(0, -2), list.at(-1)!, list.at(-2)!]
  return view(t, { shape: swap(t.shape), strides: swap(t.strides) })
}

/** Makes a view of a contiguous tensor in another shape of the same size. */
export function shaped(t: Tensor, shape: Shape): Tensor {
  return view(t, { shape, strides: rowMajorStrides(shape) })
}
