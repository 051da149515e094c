import { wordOf } from '../copy/fill.ts'
import { between, functionCases, magnitudes } from '../functions.ts'
import type { Fill, KernelCase } from '../spec.ts'
import type { Clamp } from './clamp.ts'

/** Numbers with many halves between whole numbers. */
const halves: Fill = (_, random) => Math.floor(40 * random() - 20) / 2
const large = magnitudes(1e-4, 1e9)
const whole = {
  fills: { halves, large, 'near whole numbers': (index: number) => (index - 512) * (1 + 2 ** -23) },
  tolerance: 0,
}

export const algebraicCases = functionCases(
  {
    sign: { fills: { 'some zeros': (_: number, random: () => number) => Math.floor(3 * random()) - 1, large }, tolerance: 0 },
    abs: { fills: { large }, tolerance: 0 },
    floor: whole,
    ceil: whole,
    round: whole,
    trunc: whole,
    square: { fills: { large: magnitudes(1e-4, 30) } },
    reciprocal: { fills: { ordinary: magnitudes(0.1, 10), large } },
    rsqrt: { fills: { ordinary: between(0.1, 10), large: between(1e6, 1e30) } },
  },
  'x',
  ['x', 'y'],
  {},
)

export const algebraicBackwardCases = functionCases(
  {
    abs: { fills: { 'some zeros': (_: number, random: () => number) => Math.floor(3 * random()) - 1, large } },
    square: { fills: { ordinary: 'normal', large } },
    reciprocal: { fills: { ordinary: magnitudes(0.1, 3) } },
    rsqrt: { fills: { ordinary: between(0.1, 3) } },
  },
  'saved',
  ['grad', 'saved', 'out'],
  {},
)

type Limits = readonly [low: number, high: number]

function clampCase(input: 'y' | 'out', count: number, [low, high]: Limits, dtype: Clamp['dtype']): KernelCase<Clamp> {
  const [first, last] = [low, high].map((limit) => wordOf(limit, dtype === 'i32' ? 'i32' : 'f32')) as [number, number]
  const integers: Fill = (_, random) => Math.floor(20 * random()) - 10
  return {
    name: `${count} from ${low} to ${high}, ${dtype}`,
    problem: { count, low: first, high: last, dtype },
    sizes: { x: count, [input]: count, ...(input === 'out' && { grad: count }) },
    fills: { x: dtype === 'i32' || input === 'out' ? integers : 'normal' },
    tolerance: 0,
  }
}

const counts = [1, 3, 4, 33, 1025]

export const clampCases = [
  ...counts.map((count) => clampCase('y', count, [-0.5, 0.75], 'f32')),
  clampCase('y', 1025, [0.5, -0.25], 'f32'),
  clampCase('y', 33, [Number.NEGATIVE_INFINITY, 0], 'f32'),
  clampCase('y', 1025, [-0.5, 0.75], 'f16'),
  clampCase('y', 1025, [-3, 7], 'i32'),
  clampCase('y', 36, [-(2 ** 31), 2], 'i32'),
  { ...clampCase('y', 1_000_000, [-0.5, 0.75], 'f32'), bench: true },
]

export const clampBackwardCases = [
  ...counts.map((count) => clampCase('out', count, [-3, 7], 'f32')),
  clampCase('out', 1025, [-3, 7], 'f16'),
  { ...clampCase('out', 1_000_000, [-3, 7], 'f32'), bench: true },
]
