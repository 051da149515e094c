import type { Param } from './spec.ts'

/** Dims that strided kernels take after merging. */
export const MAX_DIMS = 8

/** Where an operand lies in its buffer, in elements: a stride per dim of the problem (0 where it is broadcast), and its first element. */
export interface Layout {
  readonly strides: readonly number[]
  readonly offset: number
}

/** The loop nest of a strided kernel: the outer dims, and the innermost one that threads walk along. */
export interface Nest {
  /** Sizes of the outer dims, outermost first; at most MAX_DIMS - 1. */
  readonly dims: number[]
  /** Number of outer dims. */
  readonly outer: number
  /** Product of the outer dims. */
  readonly rows: number
  /** Size of the innermost dim. */
  readonly inner: number
}

/** An operand of a Nest: strides of its outer dims, stride along the innermost one, first element. */
export interface Walk {
  readonly strides: number[]
  readonly step: number
  readonly offset: number
}

/**
 * Drops dims of size 1 and merges neighbours that every operand walks through as if they were one, so that most problems
 * end with one or two dims.
 * @param shape sizes of the dims, none of them 0
 * @throws Error when more than MAX_DIMS remain
 */
export function collapse(shape: readonly number[], layouts: readonly Layout[]): { nest: Nest; walks: Walk[] } {
  const dims: number[] = []
  const strides: number[][] = layouts.map(() => [])
  for (const [d, size] of shape.entries()) {
    if (size === 1) continue
    const last = dims.length - 1
    if (last >= 0 && layouts.every((layout, k) => strides[k]![last] === layout.strides[d]! * size)) {
      dims[last]! *= size
      for (const [k, layout] of layouts.entries()) strides[k]![last] = layout.strides[d]!
    } else {
      dims.push(size)
      for (const [k, layout] of layouts.entries()) strides[k]!.push(layout.strides[d]!)
    }
  }
  if (dims.length > MAX_DIMS) throw new Error(`${dims.length} dims remain of [${shape}], more than ${MAX_DIMS}`)
  const inner = dims.pop() ?? 1
  return {
    nest: { dims, outer: dims.length, rows: dims.reduce((product, size) => product * size, 1), inner },
    // A single element has no stride of its own; 1 lets the vec4 variants take it.
    walks: layouts.map(({ offset }, k) => ({ step: strides[k]!.pop() ?? 1, strides: strides[k]!, offset })),
  }
}

/** Parameters of a strided kernel for its Nest and the named operands, as `nestProblem()` fills them. */
export function nestParams(...names: string[]): Param[] {
  return [
    { name: 'dims', type: 'u32', length: MAX_DIMS },
    ...names.map((name): Param => ({ name: `${name}Strides`, type: 'u32', length: MAX_DIMS })),
    { name: 'outer', type: 'u32' },
    { name: 'rows', type: 'u32' },
    { name: 'inner', type: 'u32' },
    ...names.flatMap((name): Param[] => [
      { name: `${name}Step`, type: 'u32' },
      { name: `${name}Offset`, type: 'u32' },
    ]),
  ]
}

/** What a strided kernel gets: the Nest and, under `walks`, the operands by name. */
export type NestProblem<Name extends string> = Nest & { walks: Record<Name, Walk> }

/** A problem with the parameters of `nestParams()` beside its nest and walks. */
export function nestProblem<Name extends string>(shape: readonly number[], operands: Record<Name, Layout>): NestProblem<Name> {
  const names = Object.keys(operands) as Name[]
  const { nest, walks } = collapse(
    shape,
    names.map((name) => operands[name]),
  )
  const named = Object.fromEntries(names.map((name, k) => [name, walks[k]!])) as Record<Name, Walk>
  const problem: NestProblem<Name> & Record<string, unknown> = { ...nest, walks: named }
  for (const [k, name] of names.entries()) {
    problem[`${name}Strides`] = walks[k]!.strides
    problem[`${name}Step`] = walks[k]!.step
    problem[`${name}Offset`] = walks[k]!.offset
  }
  return problem
}

/** Whether all operands are one row-major run that starts on a vec4. */
export function isFlat({ outer, walks }: NestProblem<string>): boolean {
  return outer === 0 && Object.values(walks).every((walk) => walk.step === 1 && walk.offset % 4 === 0)
}

/** Whether rows can be walked in vec4s: each operand runs along the row, starting on a vec4, or stays at one element. */
export function hasVectorRows({ inner, walks }: NestProblem<string>): boolean {
  if (inner % 4 !== 0) return false
  return Object.values(walks).every(({ step, strides, offset }) => {
    return step === 0 || (step === 1 && offset % 4 === 0 && strides.every((stride) => stride % 4 === 0))
  })
}

/** Elements of a buffer that an operand reaches, from its start. */
export function reach({ dims, inner }: Nest, { strides, step, offset }: Walk): number {
  return dims.reduce((end, size, d) => end + (size - 1) * strides[d]!, offset + (inner - 1) * step + 1)
}

/** Calls `visit` for each element in row-major order, with the place of every operand in its buffer. For references. */
export function forEachElement<Name extends string>(
  { dims, rows, inner, walks }: NestProblem<Name>,
  visit: (index: number, at: Record<Name, number>) => void,
): void {
  const at = {} as Record<Name, number>
  for (let row = 0; row < rows; row++) {
    const coordinates: number[] = []
    for (let d = dims.length - 1, rest = row; d >= 0; rest = Math.floor(rest / dims[d]!), d--) coordinates[d] = rest % dims[d]!
    for (let i = 0; i < inner; i++) {
      for (const name of Object.keys(walks) as Name[]) {
        const { strides, step, offset } = walks[name]
        at[name] = strides.reduce((sum, stride, d) => sum + stride * coordinates[d]!, offset + i * step)
      }
      visit(row * inner + i, at)
    }
  }
}
