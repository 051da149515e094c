import { type Elements, functionSpec } from '../functions.ts'
import source from './algebraic.wgsl'
import backwardSource from './backward.wgsl'

/** Functions of a few instructions, by their numbers in the WGSL. */
export const ALGEBRAIC = {
  ...{ abs: 0, sign: 1, floor: 2, ceil: 3, round: 4, trunc: 5 },
  ...{ square: 6, reciprocal: 7, rsqrt: 8 },
} as const

export type AlgebraicOp = keyof typeof ALGEBRAIC

/** The functions whose derivative is not 0 wherever it exists. */
export type SmoothOp = 'abs' | 'square' | 'reciprocal' | 'rsqrt'

/** y [count] = f(x [count]), float32 or float16. `round` takes ties to even; `sign` of NaN is NaN. */
export const algebraic = functionSpec<Elements<AlgebraicOp>>('algebraic', source, ALGEBRAIC, [['x'], 'y'])

/** out [count] = grad f'(x), float32 or float16, where `saved` is x for abs and square, and y = f(x) for the others. */
export const algebraicBackward = functionSpec<Elements<SmoothOp>>('algebraicBackward', backwardSource, ALGEBRAIC, [
  ['grad', 'saved'],
  'out',
])
