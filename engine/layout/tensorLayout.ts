import { endOf, type Layout, rowMajorStrides } from '../../kernels/layout.ts'
import { equalShapes, isRowMajor, type Shape, sizeOf } from './shape.ts'

/** The most layouts that are kept. Beyond, the table begins anew. */
const KEPT = 4096

let made = 0

/**
 * Where the elements of a tensor lie, with what follows from it. Equal layouts are nearly always one object, so that what is made of a layout
 * can be found again by its number.
 */
export class TensorLayout implements Layout {
  /** A number that no other layout has. */
  readonly id = made++
  readonly shape: Shape
  readonly strides: Shape
  readonly offset: number
  /** The number of elements. */
  readonly size: number
  /** Exclusive end of the elements in the storage. */
  readonly end: number
  /** Whether the elements lie in row-major order without gaps. */
  readonly rowMajor: boolean

  constructor(layout: Layout) {
    this.shape = Object.freeze([...layout.shape])
    this.strides = Object.freeze([...layout.strides])
    this.offset = layout.offset
    this.size = sizeOf(this.shape)
    this.end = endOf(this)
    this.rowMajor = isRowMajor(this)
  }
}

/** The layouts by their dims, then their strides, then their offset: one number leads from each level to the next. */
type Level = Map<number, Level | TensorLayout>

/** The levels by rank. */
const table: Level = new Map()
let kept = 0

/** Returns the layout as an object that is kept for all equal ones. */
export function tensorLayout(layout: Layout): TensorLayout {
  if (layout instanceof TensorLayout) return layout
  const { shape, strides, offset } = layout
  let level = below(table, shape.length)
  for (let d = 0; d < shape.length; d++) level = below(level, shape[d]!)
  for (let d = 0; d < shape.length; d++) level = below(level, strides[d]!)
  const found = level.get(offset) as TensorLayout | undefined
  if (found) return found
  if (kept++ >= KEPT) {
    table.clear()
    kept = 0
    return tensorLayout(layout)
  }
  const own = new TensorLayout(layout)
  level.set(offset, own)
  return own
}

/** Whether two layouts are equal; they may be two objects where the table began anew between them. */
export function equalLayouts(a: TensorLayout, b: TensorLayout): boolean {
  return a === b || (a.offset === b.offset && equalShapes(a.shape, b.shape) && equalShapes(a.strides, b.strides))
}

/** Returns the layout of a row-major tensor at the start of its storage. */
export function rowMajor(shape: Shape): TensorLayout {
  return tensorLayout({ shape, strides: rowMajorStrides(shape), offset: 0 })
}

function below(level: Level, key: number): Level {
  let next = level.get(key) as Level | undefined
  if (!next) {
    next = new Map()
    level.set(key, next)
  }
  return next
}
