import { type Elements, functionSpec } from '../functions.ts'
import { scalars } from '../spec.ts'
import source from './activation.wgsl'
import backwardSource from './backward.wgsl'

/** The functions, by their numbers in the WGSL. */
export const ACTIVATION = { silu: 0, softplus: 1, leakyRelu: 2, geluTanh: 3 } as const

export type ActivationOp = keyof typeof ACTIVATION

export interface Activation extends Elements<ActivationOp> {
  /** The slope of leakyRelu below 0; other functions ignore it. */
  slope: number
}

const slope = scalars('f32', 'slope')

/** y [count] = f(x [count]), float32 or float16. `geluTanh` is GELU with a tanh in place of the error function. */
export const activation = functionSpec<Activation>('activation', source, ACTIVATION, [['x'], 'y'], slope)

/** out [count] = grad f'(x), float32 or float16, where `saved` is x. */
export const activationBackward = functionSpec<Activation>(
  'activationBackward',
  backwardSource,
  ACTIVATION,
  [['grad', 'saved'], 'out'],
  slope,
)
