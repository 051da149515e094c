import { broadcast, nestCase, PAIRS, pair } from '../elementwise/pairs.ts'
import type { Layout } from '../layout.ts'
import type { KernelCase } from '../spec.ts'
import { type Lerp, lerpProblem } from './lerp.ts'

function lerpCase(
  name: string,
  [a, b, weight]: readonly [Layout, Layout, Layout],
  dtype: Lerp['dtype'] = 'f32',
): KernelCase<Lerp> {
  return nestCase(`${name}, ${dtype}`, ['a', 'b', 'weight'], lerpProblem(dtype, a, b, weight), { fills: { weight: 'uniform' } })
}

const whole = ({ shape }: Layout): Layout => broadcast(shape, shape)
const million = pair([1_000_000], [1_000_000], [1_000_000])

export const lerpCases: KernelCase<Lerp>[] = [
  ...PAIRS.slice(-14).map(({ name, a, b }) => lerpCase(name, [a, b, whole(a)])),
  ...PAIRS.slice(-4).map(({ name, a, b }) => lerpCase(`${name} by one weight`, [a, b, broadcast([], a.shape)])),
  lerpCase('halves', [broadcast([33], [5, 33]), broadcast([5, 33], [5, 33]), broadcast([5, 1], [5, 33])], 'f16'),
  { ...lerpCase('1e6', [million.a, million.b, broadcast([], [1_000_000])]), bench: true },
]
