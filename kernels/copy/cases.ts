import { endOf, type Layout, reach, rowMajorStrides } from '../layout.ts'
import type { Fill, KernelCase } from '../spec.ts'
import { type Copy, copyProblem } from './copy.ts'
import { type Arange, type FillProblem, wordOf } from './fill.ts'
import { flipProblem } from './flip.ts'
import { type Pad, padProblem } from './pad.ts'

const SIZES = [1, 2, 3, 4, 7, 31, 33, 129, 257, 1025, 8200]
const words: Fill = (_, random) => Math.floor(random() * 2 ** 32)

/** The layout of a part of a row-major tensor of the shape `whole`. */
function within(shape: readonly number[], whole: readonly number[] = shape, offset = 0): Layout {
  return { shape, strides: rowMajorStrides(whole), offset }
}

function permuted({ shape, strides, offset }: Layout, order: readonly number[]): Layout {
  return { shape: order.map((d) => shape[d]!), strides: order.map((d) => strides[d]!), offset }
}

/** A copy between two layouts of one shape, by default into a row-major target. */
function copyCase(name: string, source: Layout, target = within(source.shape)): KernelCase<Copy> {
  const problem = copyProblem(source, target)
  return {
    name,
    problem,
    sizes: { source: reach(problem, problem.walks[0]!), out: reach(problem, problem.walks[1]!) + 5 },
    // The target is filled too, so that a test notices when a copy changes other elements of it.
    fills: { source: words, out: words },
  }
}

/** A copy with the order reversed along some dims. */
function flipCase(source: Layout, dims: readonly number[]): KernelCase<Copy> {
  const target = within(source.shape)
  const problem = flipProblem(source, target, dims)
  const sizes = { source: endOf(source), out: endOf(target) + 5 }
  return { name: `[${source.shape}] flipped along ${dims}`, problem, sizes, fills: { source: words, out: words } }
}

/** A copy of a tensor of this shape, with its dims permuted. */
function permuteCase(shape: readonly number[], order: readonly number[], bench = false): KernelCase<Copy> {
  return { ...copyCase(`[${shape}] permuted ${order}`, permuted(within(shape), order)), bench }
}

const wordCases: KernelCase<Copy>[] = [
  copyCase('rank 0', within([])),
  ...[...SIZES, 100_003].map((n) => copyCase(`[${n}]`, within([n]))),
  ...[1, 2, 3, 4, 5, 7, 31, 32, 33, 64, 65, 129].map((n) => permuteCase([n, 37], [1, 0])),
  ...[1, 3, 4, 31, 36, 64, 65, 257].map((n) => permuteCase([n, 36], [1, 0])),
  permuteCase([64, 128], [1, 0]),
  permuteCase([2, 33, 3, 8], [0, 2, 1, 3]),
  permuteCase([2, 33, 3, 7], [0, 2, 1, 3]),
  permuteCase([2, 33, 3, 7], [2, 0, 3, 1]),
  permuteCase([5, 4, 32], [0, 2, 1]),
  permuteCase([5, 33, 31], [2, 1, 0]),
  permuteCase([5, 33, 36], [2, 0, 1]),
  permuteCase([2, 3, 4, 5, 2, 3, 2, 2], [7, 2, 5, 0, 3, 6, 1, 4]),
  copyCase('an element broadcast', { shape: [300], strides: [0], offset: 3 }),
  copyCase('a row broadcast', { shape: [7, 36], strides: [0, 1], offset: 0 }),
  copyCase('a column broadcast', { shape: [7, 36], strides: [1, 0], offset: 2 }),
  copyCase('columns of wider rows', { shape: [6, 8], strides: [20, 1], offset: 8 }),
  copyCase('odd columns', { shape: [6, 8], strides: [21, 1], offset: 3 }),
  copyCase('misaligned', { shape: [129], strides: [1], offset: 1 }),
  copyCase('into columns of wider rows', within([6, 8]), within([6, 8], [6, 20], 4)),
  copyCase('into odd columns of wider rows', within([6, 8]), within([6, 8], [6, 21], 5)),
  copyCase('into the middle dim', within([3, 4, 8]), within([3, 4, 8], [3, 9, 8], 16)),
  copyCase('into a tail', within([33]), { shape: [33], strides: [1], offset: 64 }),
  copyCase('into every third element', within([33]), { shape: [33], strides: [3], offset: 2 }),
  copyCase('transposed into columns', { shape: [33, 12], strides: [1, 33], offset: 0 }, within([33, 12], [33, 40], 8)),
  copyCase('transposed from columns', { shape: [36, 12], strides: [1, 40], offset: 4 }),
  copyCase('into a transposed target', within([33, 12]), { shape: [33, 12], strides: [1, 33], offset: 0 }),
  flipCase(within([257]), [0]),
  flipCase(within([9, 36]), [0]),
  flipCase(within([9, 36]), [1]),
  flipCase(within([5, 6, 7]), [0, 1]),
  flipCase(permuted(within([5, 36, 32]), [0, 2, 1]), [0]),
  permuteCase([1024, 1024], [1, 0], true),
  permuteCase([32, 65, 3, 4, 64], [2, 0, 3, 1, 4], true),
  { ...copyCase('1e6', within([1_000_000])), bench: true },
]

/** Numbers of every exponent and sign of float16, including subnormals and numbers that round to infinity. */
const anyHalf: Fill = (_, random) => (random() < 0.5 ? -1 : 1) * 2 ** (42 * random() - 25.5)

/** Makes a case with other element types, whose values `anyHalf` gives. */
function typedCase(kase: KernelCase<Copy>, from: 'f16' | 'f32', to: 'f16' | 'f32'): KernelCase<Copy> {
  const problem: Copy = { ...kase.problem, from, to }
  return { ...kase, name: `${kase.name}, ${from} to ${to}`, problem, fills: { source: anyHalf, out: 'normal' }, tolerance: 0 }
}

export const copyCases: KernelCase<Copy>[] = [
  ...wordCases,
  ...(
    [
      ['f16', 'f16'],
      ['f32', 'f16'],
      ['f16', 'f32'],
    ] as const
  ).flatMap(([from, to]) => wordCases.map((kase) => typedCase(kase, from, to))),
]

export const fillCases: KernelCase<FillProblem>[] = [
  ...SIZES.map((count) => ({ name: `${count}`, problem: { count, word: wordOf(-2.5, 'f32') }, sizes: { y: count } })),
  { name: 'halves', problem: { count: 9, word: wordOf(-2.5, 'f16') }, sizes: { y: 9 } },
  { name: 'minus 1', problem: { count: 9, word: wordOf(-1, 'i32') }, sizes: { y: 9 } },
]

function arangeCase(count: number, start: number, step: number): KernelCase<Arange> {
  return { name: `${count} from ${start} by ${step}`, problem: { count, start, step }, sizes: { y: count }, tolerance: 1e-7 }
}

export const arangeCases = [
  ...SIZES.map((count) => arangeCase(count, 0, 1)),
  arangeCase(1025, -3, 0.25),
  arangeCase(33, 7, -1.1),
]
export const arangeWholeCases = [
  { ...arangeCase(1025, 2 ** 30 - 7, 3), tolerance: 4e-8 },
  { ...arangeCase(33, 16777217, -1), tolerance: 4e-8 },
]
export const arangeIntCases = [
  ...SIZES.map((count) => arangeCase(count, 0, 1)),
  arangeCase(1025, -30, 7),
  arangeCase(33, 7, -2),
]

/**
 * Makes a case of `pad`: a result of this shape with a box of source values in it.
 * @param ranges the range of the box in each dim, such as '1:3 2:6'
 * @param source the strides and the first element of the source; by default it is row-major
 */
function padCase(shape: number[], ranges: string, source?: Omit<Layout, 'shape'>): KernelCase<Pad> {
  const box = ranges
    .split(' ')
    .flatMap((range): [number, number][] => (range ? [range.split(':').map(Number) as [number, number]] : []))
  const extent = box.map(([from, to]) => to - from)
  const layout = source ? { shape: extent, ...source } : within(extent)
  return {
    name: `${ranges.replaceAll(' ', ', ')} of [${shape}]${source ? ', strided' : ''}`,
    problem: padProblem(shape, box, layout),
    sizes: { source: endOf(layout), out: shape.reduce((product, size) => product * size, 1) },
    fills: { source: words },
  }
}

const wordPadCases: KernelCase<Pad>[] = [
  padCase([], ''),
  padCase([1], '0:1'),
  padCase([9], '3:4'),
  padCase([129], '1:128'),
  padCase([5, 65, 36], '0:5 0:1 0:36'),
  padCase([5, 65, 37], '0:5 64:65 0:37'),
  padCase([5, 6, 7], '1:3 2:6 0:7'),
  padCase([5, 6, 7], '0:5 0:6 3:5'),
  padCase([5, 1, 7, 3], '4:5 0:1 0:2 1:3'),
  padCase([2, 3, 4, 5, 2, 3, 2, 3], '0:1 1:3 1:4 0:4 1:2 0:2 1:2 2:3'),
  padCase([7, 40], '0:7 4:37', { strides: [1, 7], offset: 2 }),
  padCase([7, 40], '2:5 0:40', { strides: [0, 0], offset: 3 }),
]

export const padCases: KernelCase<Pad>[] = [
  ...wordPadCases,
  ...wordPadCases.map((kase): KernelCase<Pad> => {
    const problem: Pad = { ...kase.problem, dtype: 'f16' }
    return { ...kase, name: `${kase.name}, f16`, problem, fills: { source: anyHalf }, tolerance: 0 }
  }),
]
