import { seededRandom } from '../../kernels/fill.ts'
import { fromHalf, fromHalves, toHalf, toHalves } from '../../kernels/half.ts'
import { specialize } from '../../kernels/specialize.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('halves')

/** All finite, non-negative float16 numbers in ascending order. */
const finite = Array.from({ length: 0x7c00 }, (_, half) => fromHalf(half))

test('every half is the number that its bits say, and comes back', () => {
  const known: [half: number, value: number][] = [
    [0x0000, 0],
    [0x0001, 2 ** -24],
    [0x03ff, 1023 * 2 ** -24],
    [0x0400, 2 ** -14],
    [0x3555, 0.333251953125],
    [0x3c00, 1],
    [0x7bff, 65504],
    [0x7c00, Number.POSITIVE_INFINITY],
    [0xc000, -2],
  ]
  for (const [half, value] of known) if (fromHalf(half) !== value) throw new Error(`${half.toString(16)} is ${fromHalf(half)}`)
  for (let i = 1; i < finite.length; i++) if (!(finite[i]! > finite[i - 1]!)) throw new Error(`${i} is not above its neighbour`)
  for (let half = 0; half < 0x10000; half++) {
    const value = fromHalf(half)
    if (Math.fround(value) !== value && !Number.isNaN(value)) throw new Error(`${value} is no float32`)
    if (Number.isNaN(value) ? !Number.isNaN(fromHalf(toHalf(value))) : toHalf(value) !== half)
      throw new Error(`${half} -> ${value}`)
  }
  if (!Object.is(fromHalf(0x8000), -0)) throw new Error('minus zero')
})

test('numbers between halves go to the nearest, ties to the even one; beyond the last to infinity', () => {
  for (let i = 1; i < finite.length; i++) {
    const [low, high] = [finite[i - 1]!, finite[i]!]
    const middle = (low + high) / 2
    const even = i % 2 === 0 ? i : i - 1
    const nudge = middle * 2 ** -20 // more than float32's rounding, and less than half a step of float16
    const found = [middle - nudge, middle, middle + nudge, -middle].map(toHalf)
    if (`${found}` !== `${[i - 1, even, i, even | 0x8000]}`) throw new Error(`around ${middle}: ${found}`)
  }
  const edges = [65519.99, 65520, 1e30, Number.POSITIVE_INFINITY, -65520, 2 ** -25, 2 ** -25 * 1.001, 1e-40]
  if (`${edges.map(toHalf)}` !== `${[0x7bff, 0x7c00, 0x7c00, 0x7c00, 0xfc00, 0, 1, 0]}`) throw new Error(`${edges.map(toHalf)}`)
})

test('arrays of them', () => {
  const random = seededRandom(3)
  const values = Float32Array.from({ length: 1000 }, () => (random() - 0.5) * 2 ** (40 * random() - 25))
  const back = fromHalves(toHalves(values))
  values.forEach((value, i) => {
    if (!(Math.abs(back[i]! - value) <= Math.max(Math.abs(value) * 2 ** -11, 2 ** -25)))
      throw new Error(`${value} -> ${back[i]}`)
  })
})

test('arrays are converted as single numbers are, beside every boundary and for whatever list', () => {
  const edges = finite.flatMap((value, i) => (i === 0 ? [] : [value, (value + finite[i - 1]!) / 2, value * (1 + 2 ** -20)]))
  const special = [0, -0, Number.NaN, Number.POSITIVE_INFINITY, 65519.99, 65520, 1e30, 2 ** -25 * 1.001, 1e-40, 2 ** -149]
  const values = [...edges, ...special].flatMap((value) => [value, -value])
  for (const list of [values, Float32Array.from(values), Float64Array.from(values)]) {
    const found = toHalves(list)
    values.forEach((value, i) => {
      if (found[i] !== toHalf(value)) throw new Error(`${value} -> ${found[i]}, not ${toHalf(value)}`)
    })
  }
  const all = fromHalves(Uint16Array.from({ length: 2 ** 16 }, (_, half) => half))
  all.forEach((value, half) => {
    if (!Object.is(value, fromHalf(half))) throw new Error(`${half} -> ${value}`)
  })
})

test('f16 is enabled first in the text, once, and only where a declaration becomes f16', () => {
  const source = '// A kernel.\nalias Scalar = f32;\nconst N: u32 = 1u;\n'
  if (specialize(source, { Scalar: 'f32', N: 16 }).includes('enable')) throw new Error('enabled without need')
  for (const type of ['f16', 'vec4<f16>']) {
    const text = specialize(source, { Scalar: type })
    if (!text.startsWith('enable f16;\n') || !text.includes(`alias Scalar = ${type};`)) throw new Error(text)
  }
  const own = `enable f16;\n${source}`
  if (specialize(own, { Scalar: 'f16' }).split('enable f16').length !== 2) throw new Error('enabled twice')
})

run()
