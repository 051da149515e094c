import { broadcastLayout, mergeDims, rowMajorStrides } from '../../kernels/layout.ts'
import * as kernels from '../../kernels/matmul/index.ts'
import { dropoutProblem } from '../../kernels/random/index.ts'
import type { Capabilities } from '../../kernels/spec.ts'
import type { RandomDraw } from '../autograd/recomputation.ts'
import type { Dtype } from '../layout/dtype.ts'
import { byDevice, byLayouts, byNumber, share } from '../layout/layoutMemo.ts'
import { type Shape, sizeOf } from '../layout/shape.ts'
import { rowMajor, type TensorLayout } from '../layout/tensorLayout.ts'
import { run } from '../tensor/run.ts'
import { fromAligned, operandLayout, rowStrideOf } from '../tensor/strided.ts'
import { empty, emptyOf, type Tensor, view } from '../tensor/tensor.ts'

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

/** The problems of the launches of a product: one, or those of the partial products and of their sum. */
interface Plan {
  product: kernels.Matmul
  combine: kernels.Matmul | undefined
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
  const { bias, pre, geluGrad, dropout, residual } = epilogue
  const other = geluGrad ?? residual
  const dtypes = halves(a, b, other ?? a, out, pre)
  const plan = plans(device.capabilities)(a.layout, b.layout)(out.layout, (other ?? a).layout)(
    flagsOf(epilogue) + FLAGS * dtypes,
  )
  if (!plan.possible) {
    const [x, y, z] = copies(out.shape, a, b, other)
    gemm(out, x, y, z ? { ...epilogue, [geluGrad ? 'geluGrad' : 'residual']: z } : epilogue)
    return
  }
  const { product, combine } = dropout ? withDropout(plan.possible, out.size, dropout) : plan.possible
  // Unused bindings need memory too: an operand once more, or a buffer that nothing else touches.
  const unused = () => emptyOf(rowMajor([1]), 'float32', device)
  const [left, right] = [fromAligned(a), fromAligned(b)]
  const target = pre ?? unused()
  const extras = [bias ?? (a.dtype === 'float32' ? left : unused()), other ? fromAligned(other) : left]
  const update = dropout && { updateParams: () => dropout.draw.next() }
  if (combine) {
    const partials = empty([product.splits, ...out.shape], 'float32', device) // [splits, ..., m, n]
    run(kernels.matmul, product, [left, right, ...extras, partials, target])
    run(kernels.matmulCombine, combine, [partials, ...extras, out, target], update)
  } else run(kernels.matmul, product, [left, right, ...extras, out, target], update)
}

/** The steps of an epilogue as bits. */
function flagsOf({ bias, pre, gelu, geluGrad, dropout, residual }: GemmEpilogue): number {
  const bits = kernels.EPILOGUE
  return (
    (bias ? bits.bias : 0) |
    (pre ? bits.pre : 0) |
    (gelu ? bits.gelu : 0) |
    (geluGrad ? bits.geluGrad : 0) |
    (dropout ? bits.dropout : 0) |
    (residual ? bits.add : 0)
  )
}

/** More than the steps of any epilogue. */
const FLAGS = 2 ** 8

/** The bindings that can hold float16, each a bit of `halves`. */
const CAN_BE_HALF = ['a', 'b', 'aux', 'c', 'pre'] as const

function halves(...tensors: readonly ({ dtype: Dtype } | undefined)[]): number {
  let bits = 0
  for (let i = 0; i < tensors.length; i++) if (tensors[i]?.dtype === 'float16') bits |= 1 << i
  return bits
}

/** By device, layouts of the operands, and steps with dtypes, the plan; none is possible where the strides do not suit the kernel. */
const plans = byDevice((device) =>
  byLayouts((a, b) =>
    byLayouts((out, aux) =>
      byNumber((key) => ({ possible: planOf(device, out.shape, a, b, aux, key % FLAGS, Math.floor(key / FLAGS)) })),
    ),
  ),
)

/** @param aux the layout of what is added or multiplied last, if there is such a step @param half the bits of `halves` */
function planOf(
  device: Capabilities,
  shape: Shape,
  a: TensorLayout,
  b: TensorLayout,
  aux: TensorLayout,
  flags: number,
  half: number,
): Plan | undefined {
  const has = flags & (kernels.EPILOGUE.add | kernels.EPILOGUE.geluGrad)
  const dtype = (name: (typeof CAN_BE_HALF)[number]) => ((half >> CAN_BE_HALF.indexOf(name)) & 1 ? 'float16' : 'float32')
  const problem = arrange(shape, [a, dtype('a')], [b, dtype('b')], has ? [aux, dtype('aux')] : undefined)
  if (!problem) return undefined
  const split = kernels.splitK(device, problem)
  const rows = kernels.rowsPerGroup({ ...problem, ...split })
  const names = CAN_BE_HALF.filter((name) => dtype(name) === 'float16')
  const dtypes = names.length > 0 && { dtypes: Object.fromEntries(names.map((name) => [name, 'f16' as const])) }
  const whole: kernels.Matmul = { ...problem, ...split, rows, flags, ...dtypes }
  if (split.splits === 1) return { product: share(whole), combine: undefined }
  return { product: share({ ...whole, flags: 0 }), combine: share(whole) }
}

/** The plan with the parameters of a draw. */
function withDropout({ product, combine }: Plan, count: number, dropout: NonNullable<GemmEpilogue['dropout']>): Plan {
  const mask = dropoutParams(count, dropout)
  return { product: { ...product, ...mask }, combine: combine && { ...combine, ...mask } }
}

/** The kernel's parameters for dropout. */
function dropoutParams(count: number, { p, draw }: NonNullable<GemmEpilogue['dropout']>): Partial<kernels.Matmul> {
  const { threshold, scale: keep } = dropoutProblem(count, p, draw.words)
  return { threshold, keep, ...draw.words }
}

type Operand = readonly [layout: TensorLayout, dtype: Dtype]

/** The sizes and strides of a product of operands as they lie; undefined where their strides do not suit the kernel. */
function arrange(
  shape: Shape,
  [a, aDtype]: Operand,
  [b, bDtype]: Operand,
  other: Operand | undefined,
): Omit<kernels.Matmul, 'rows' | 'splits' | 'chunk' | 'flags'> | undefined {
  const batch = shape.slice(0, -2)
  const [m, n] = shape.slice(-2) as [number, number]
  const k = a.shape.at(-1)!
  const left = operandLayout(a, aDtype, [...batch, m, k])
  const right = operandLayout(b, bDtype, [...batch, k, n])
  const aux = other && operandLayout(...other, shape)
  const [bRow, bCol] = right.strides.slice(-2) as [number, number]
  if (aux && n > 1 && aux.strides.at(-1) !== 1) return undefined
  // b repeats along m. Inner batch dims along which it repeats too become further rows, where those lie evenly spaced.
  const walks = [left.strides, right.strides.with(-2, 0), aux?.strides ?? shape.map(() => 0)]
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
    a: view(left.offset, strides[0]!),
    b: view(right.offset, strides[1]!),
    aux: view(aux?.offset ?? 0, strides[2]!),
    m: rows,
    n,
    k,
    batches: sizeOf(dims),
    batch1,
    batch2,
    aRow,
    aCol: left.strides.at(-1)!,
    bRow,
    bCol,
    auxRow,
  }
}

/** Row-major copies of operands, broadcast along the batch dims, which then merge into one. */
function copies(shape: Shape, a: Tensor, b: Tensor, other: Tensor | undefined): [Tensor, Tensor, Tensor | undefined] {
  const copy = (t: Tensor, to: Shape) => view(t, broadcastLayout(t, to)).contiguous()
  const batch = shape.slice(0, -2)
  const [x, y] = [a, b].map((t) => copy(t, [...batch, ...t.shape.slice(-2)])) as [Tensor, Tensor]
  return [x, y, other && copy(other, shape)]
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
