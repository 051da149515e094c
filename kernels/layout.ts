import { type Param, scalars } from './spec.ts'

/** The most dims that strided kernels take after merging. */
export const MAX_DIMS = 8

/**
 * Where a tensor lies in memory, in elements: element (i, j, …) lies at `offset + i * strides[0] + j * strides[1] + …`. The stride is 0
 * along a dim in which the tensor is broadcast.
 */
export interface Layout {
  readonly shape: readonly number[]
  readonly strides: readonly number[]
  readonly offset: number
}

/** Returns row-major strides, in elements. */
export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length)
  let stride = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride
    stride *= shape[i]!
  }
  return strides
}

/** Broadcasts a layout to a shape: dims of size 1 and missing leading dims repeat. */
export function broadcastLayout({ shape, strides, offset }: Layout, to: readonly number[]): Layout {
  const lead = to.length - shape.length
  const repeats = (d: number) => d < lead || (shape[d - lead] === 1 && to[d] !== 1)
  return { shape: to, strides: to.map((_, d) => (repeats(d) ? 0 : strides[d - lead]!)), offset }
}

/** The exclusive end of a layout's elements. */
export function endOf({ shape, strides, offset }: Layout): number {
  return shape.reduce((end, size, d) => end + (size - 1) * strides[d]!, offset + 1)
}

/** The loop nest of a strided kernel: the outer dims, and the innermost dim, along which threads walk. */
interface Nest {
  /** The sizes of the outer dims, outermost first. */
  readonly dims: number[]
  /** The number of outer dims. */
  readonly outer: number
  /** The product of the outer dims. */
  readonly rows: number
  /** The size of the innermost dim. */
  readonly inner: number
}

/** How a Nest walks through an operand: strides of the outer dims, the stride along the innermost one, and the first element. */
export interface Walk {
  readonly strides: number[]
  readonly step: number
  readonly offset: number
}

/** A Nest with its operands in the order of `nest()`. The parameters that `nest()` declares are properties too. */
export interface NestProblem extends Nest {
  readonly walks: readonly Walk[]
}

/** Dims after merging: sizes, each operand's strides, and the first dim of the shape that went into each. */
interface MergedDims {
  readonly dims: number[]
  readonly strides: number[][]
  readonly firsts: number[]
}

/**
 * Drops dims of size 1 and merges a dim into the one before it where every operand walks through both as through one, so that most
 * problems end with one or two dims.
 * @param strides for each operand a stride per dim of the shape
 * @param mayMerge whether a dim may be merged into the one before it as far as anything but the strides says
 */
export function mergeDims(
  shape: readonly number[],
  strides: readonly (readonly number[])[],
  mayMerge: (d: number) => boolean = () => true,
): MergedDims {
  const dims: number[] = []
  const merged: number[][] = strides.map(() => [])
  const firsts: number[] = []
  for (let d = 0; d < shape.length; d++) {
    const size = shape[d]!
    if (size === 1) continue
    const last = dims.length - 1
    let merges = last >= 0 && mayMerge(d)
    for (let k = 0; k < strides.length; k++) merges = merges && merged[k]![last] === strides[k]![d]! * size
    if (merges) dims[last]! *= size
    else firsts[dims.push(size) - 1] = d
    for (let k = 0; k < strides.length; k++) merged[k]![dims.length - 1] = strides[k]![d]!
  }
  return { dims, strides: merged, firsts }
}

/**
 * Gives the strided kernels the code that they share: the parameters of the Nest and of the named operands (`dims`, `aStrides`, …, `outer`, `rows`,
 * `inner`, `aStep`, `aOffset`, …), and a function that makes the problems which carry them.
 */
export function nest<const Names extends readonly string[]>(...names: Names) {
  const keys = names.map((name) => ({ strides: `${name}Strides`, step: `${name}Step`, offset: `${name}Offset` }))
  const params: Param[] = [
    { name: 'dims', type: 'u32', length: MAX_DIMS },
    ...keys.map(({ strides }): Param => ({ name: strides, type: 'u32', length: MAX_DIMS })),
    ...scalars('u32', 'outer', 'rows', 'inner', ...keys.flatMap(({ step, offset }) => [step, offset])),
  ]
  /**
   * Makes a problem from the operands' layouts, which have one shape without zeros.
   * @throws Error when more than MAX_DIMS dims remain after merging
   */
  function problem(...operands: { readonly [name in keyof Names]: Layout }): NestProblem {
    const layouts: readonly Layout[] = operands
    const { shape } = layouts[0]!
    const allStrides = layouts.map((layout) => layout.strides)
    const { dims, strides } = mergeDims(shape, allStrides)
    if (dims.length > MAX_DIMS) throw new Error(`${dims.length} dims remain of [${shape}], more than ${MAX_DIMS}`)
    const inner = dims.pop() ?? 1
    let rows = 1
    for (const size of dims) rows *= size
    const walks: Walk[] = []
    const made: NestProblem & Record<string, unknown> = { dims, outer: dims.length, rows, inner, walks }
    for (let k = 0; k < keys.length; k++) {
      // A single element has no stride of its own; 1 lets the vec4 variants take it.
      const walk = { step: strides[k]!.pop() ?? 1, strides: strides[k]!, offset: layouts[k]!.offset }
      walks.push(walk)
      made[keys[k]!.strides] = walk.strides
      made[keys[k]!.step] = walk.step
      made[keys[k]!.offset] = walk.offset
    }
    return made
  }
  return { params, problem }
}

/** Whether rows can be walked in vec4s: each operand runs along the row from the start of a vec4 on, or stays at one element. */
export function hasVectorRows({ inner, walks }: NestProblem): boolean {
  return inner % 4 === 0 && walks.every((walk) => movesInVectors(walk))
}

/** Whether there is one row that can be walked in vec4s, except that it may end inside one. */
export function isFlat({ rows, walks }: NestProblem): boolean {
  return rows === 1 && walks.every((walk) => movesInVectors(walk))
}

/** Whether all operands are runs of neighbours that begin where their bindings do. */
export function isOneRun(problem: NestProblem): boolean {
  return isFlat(problem) && problem.walks.every(({ step, offset }) => step === 1 && offset === 0)
}

function movesInVectors({ step, strides, offset }: Walk): boolean {
  return step === 0 || (step === 1 && offset % 4 === 0 && strides.every((stride) => stride % 4 === 0))
}

/** The elements of a buffer from its start to the end of what an operand reaches. */
export function reach({ dims, inner }: Nest, { strides, step, offset }: Walk): number {
  return dims.reduce((end, size, d) => end + (size - 1) * strides[d]!, offset + (inner - 1) * step + 1)
}

/** Calls `visit` for each element in row-major order, with the index of every operand's element in its buffer. References use it. */
export function forEachElement({ dims, rows, inner, walks }: NestProblem, visit: (index: number, at: number[]) => void): void {
  for (let row = 0; row < rows; row++) {
    const coordinates: number[] = []
    for (let d = dims.length - 1, rest = row; d >= 0; rest = Math.floor(rest / dims[d]!), d--) coordinates[d] = rest % dims[d]!
    for (let i = 0; i < inner; i++) {
      const at = walks.map(({ strides, step, offset }) => {
        return strides.reduce((sum, stride, d) => sum + stride * coordinates[d]!, offset + i * step)
      })
      visit(row * inner + i, at)
    }
  }
}
