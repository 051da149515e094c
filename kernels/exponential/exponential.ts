import { type Elements, functionSpec } from '../functions.ts'
import backwardSource from './backward.wgsl'
import source from './exponential.wgsl'

/** The functions, by their numbers in the WGSL. */
export const EXPONENTIAL = { exp2: 0, log2: 1, log1p: 2, expm1: 3, erf: 4 } as const

export type ExponentialOp = keyof typeof EXPONENTIAL

/** The functions whose derivative follows from y. */
export const SAVES_RESULT: ReadonlySet<ExponentialOp> = new Set<ExponentialOp>(['exp2', 'expm1'])

/** y [count] = f(x [count]), float32 or float16: 2^x, its inverse, log(1 + x), e^x - 1 and the error function. */
export const exponential = functionSpec<Elements<ExponentialOp>>('exponential', source, EXPONENTIAL, [['x'], 'y'])

/** out [count] = grad f'(x), float32 or float16, where `saved` is x, or y as `SAVES_RESULT` says. */
export const exponentialBackward = functionSpec<Elements<ExponentialOp>>('exponentialBackward', backwardSource, EXPONENTIAL, [
  ['grad', 'saved'],
  'out',
])
