import {
  type Binding,
  type Capabilities,
  ceilDiv,
  type Grid,
  grid1d,
  type KernelSpec,
  type Param,
  reads,
  type Scalar,
  scalars,
  type Variant,
  writes,
} from '../spec.ts'
import gatherAlongSource from './gatherAlong.wgsl'
import scatterPickSource from './scatterPick.wgsl'
import scatterSourceSource from './scatterSource.wgsl'
import scatterUniqueSource from './scatterUnique.wgsl'
import scatterWinnersSource from './scatterWinners.wgsl'

/**
 * Indices along the middle axis of [outer, n, inner]: `index` has m of them for each line. Its elements lie at
 * `indexOffset + o * indexOuter + j * indexStride + i * indexInner`. Indices outside of [0, n) are left out.
 */
export interface Along {
  outer: number
  n: number
  m: number
  inner: number
  indexOffset: number
  indexOuter: number
  indexStride: number
  indexInner: number
}

export const alongParams: readonly Param[] = scalars(
  'u32',
  ...['outer', 'n', 'm', 'inner', 'indexOffset', 'indexOuter', 'indexStride', 'indexInner'],
)

/** The binding of the indices. */
export const indexBinding: Binding = { name: 'index', access: 'read', dtype: 'i32', offset: 'indexOffset' }

/** The grid with a thread for each of some elements. */
export function threadEach(elements: number): Grid {
  return grid1d(ceilDiv(elements, 64))
}

/** How the kernels with a thread for each index divide their work. */
function indexConstants({ outer, inner }: Along, { software }: Capabilities) {
  return { WIDE: inner > 1, LINES: outer > 1, EACH: software ? 16 : 1 }
}

/**
 * The variant with a thread for each index. On a software device a thread has several, since a workgroup costs as much there as a few
 * hundred indices, and nothing is divided by 1, since lanes divide in turn.
 */
export function perIndex<P extends Along>(source: string): Variant<P> {
  return {
    name: 'direct',
    source,
    constants: indexConstants,
    grid: ({ outer, m, inner }, { EACH }) => threadEach(ceilDiv(outer * m * inner, Number(EACH))),
  }
}

/** The bytes of `index` and of as many other elements. */
export function indexBytes({ outer, m, inner, indexInner, indexOuter }: Along): number {
  return 4 * outer * m * inner + 4 * m * (indexInner > 0 ? inner : 1) * (indexOuter > 0 ? outer : 1)
}

export interface GatherAlong extends Along {
  /** The bits of the element where an index lies outside, which those of float32 tell for float16. */
  missing: number
  /** The element type; any 4-byte type where it is left out. */
  dtype?: Scalar
}

const elementOf = ({ dtype = 'u32' }: GatherAlong): Scalar => dtype

/** output [outer, m, inner] = the elements of x [outer, n, inner] at `index` along the middle axis. */
export const gatherAlong: KernelSpec<GatherAlong> = {
  name: 'gatherAlong',
  bindings: [...reads(elementOf, 'x'), indexBinding, ...writes(elementOf, 'output')],
  params: [...alongParams, ...scalars('u32', 'missing')],
  variants: [
    {
      name: 'direct',
      source: gatherAlongSource,
      constants(problem) {
        const Element = elementOf(problem)
        const wide = problem.inner % 4 === 0 && problem.indexInner === 0
        const value = wide ? { Value: `vec4<${Element}>`, WIDTH: 4 } : { Value: Element, WIDTH: 1 }
        return { Element, Carrier: Element === 'f16' ? 'f32' : 'u32', ...value }
      },
      grid: ({ outer, m, inner }, { WIDTH }) => threadEach((outer * m * inner) / Number(WIDTH)),
    },
  ],
  flops: () => 0,
  bytes: (problem) => indexBytes(problem) + 4 * problem.outer * problem.m * problem.inner,
}

/** winners [outer, n, inner]: for each target of a scatter the last j + 1 whose index it is. They are 0 at first. */
export const scatterWinners: KernelSpec<Along> = {
  name: 'scatterWinners',
  bindings: [indexBinding, ...writes('u32', 'winners')],
  params: alongParams,
  variants: [perIndex(scatterWinnersSource)],
  flops: () => 0,
  bytes: indexBytes,
}

/** output [outer, n, inner] = the elements of src [outer, m, inner] that `winners` names, else those of x, of any 4-byte type. */
export const scatterPick: KernelSpec<Pick<Along, 'outer' | 'n' | 'm' | 'inner'>> = {
  name: 'scatterPick',
  bindings: [...reads('u32', 'x', 'src', 'winners'), ...writes('u32', 'output')],
  params: scalars('u32', 'outer', 'n', 'm', 'inner'),
  variants: [{ name: 'direct', source: scatterPickSource, grid: ({ outer, n, inner }) => threadEach(outer * n * inner) }],
  flops: () => 0,
  bytes: ({ outer, n, m, inner }) => 4 * outer * inner * (3 * n + m),
}

/** output [outer, m, inner]: the gradient of a scatter's src from that of its result, grad [outer, n, inner]. */
export const scatterSource: KernelSpec<Along> = {
  name: 'scatterSource',
  bindings: [...reads('f32', 'grad'), indexBinding, ...reads('u32', 'winners'), ...writes('f32', 'output')],
  params: alongParams,
  variants: [perIndex(scatterSourceSource)],
  flops: () => 0,
  bytes: (problem) => indexBytes(problem) + 8 * problem.outer * problem.m * problem.inner,
}

export interface ScatterUnique extends Along {
  /** The element type; any 4-byte type where it is left out. */
  dtype?: Scalar
}

/** output [outer, n, inner] gets src [outer, m, inner] at `index`, none of which repeats within a line, and stays as it is elsewhere. */
export const scatterUnique: KernelSpec<ScatterUnique> = {
  name: 'scatterUnique',
  bindings: [
    ...reads(({ dtype = 'u32' }: ScatterUnique) => dtype, 'src'),
    indexBinding,
    ...writes(({ dtype = 'u32' }: ScatterUnique) => dtype, 'output'),
  ],
  params: alongParams,
  variants: [
    {
      ...perIndex<ScatterUnique>(scatterUniqueSource),
      constants: (problem, device) => ({ ...indexConstants(problem, device), Element: problem.dtype ?? 'u32' }),
    },
  ],
  flops: () => 0,
  bytes: (problem) => indexBytes(problem) + 4 * problem.outer * problem.m * problem.inner,
}
