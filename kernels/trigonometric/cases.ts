import { between, functionCases, magnitudes } from '../functions.ts'
import type { Fill } from '../spec.ts'

/** Both sides of the angle from which on the reduction is in integers, and angles near multiples of pi / 2. */
const fills: Record<string, Fill> = {
  ordinary: between(-7, 7),
  small: magnitudes(1e-6, 1e-2),
  'near multiples of pi / 2': (index) => Math.fround(index * (Math.PI / 2)),
  'to 4100': between(-4100, 4100),
  'to 1e5': between(-1e5, 1e5),
  'of any size': magnitudes(1, 3e38),
}

export const trigonometricCases = functionCases({ sin: { fills }, cos: { fills } }, 'x', ['x', 'y'], {})
export const trigonometricBackwardCases = functionCases(
  { sin: { fills }, cos: { fills } },
  'saved',
  ['grad', 'saved', 'out'],
  {},
)
