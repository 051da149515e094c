import { type Elements, functionSpec } from '../functions.ts'
import backwardSource from './backward.wgsl'
import source from './trigonometric.wgsl'

/** The functions, by their numbers in the WGSL. */
export const TRIGONOMETRIC = { sin: 0, cos: 1 } as const

export type TrigonometricOp = keyof typeof TRIGONOMETRIC

/** y [count] = sin or cos of x [count], float32 or float16. Every finite angle is right; infinite ones give NaN. */
export const trigonometric = functionSpec<Elements<TrigonometricOp>>('trigonometric', source, TRIGONOMETRIC, [['x'], 'y'])

/** out [count] = grad f'(x), float32 or float16, where `saved` is x. */
export const trigonometricBackward = functionSpec<Elements<TrigonometricOp>>(
  'trigonometricBackward',
  backwardSource,
  TRIGONOMETRIC,
  [['grad', 'saved'], 'out'],
)
