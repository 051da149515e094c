import type { KernelCase } from '../spec.ts'
import {
  type Convolution,
  forwardProblem,
  inputGradientProblems,
  type Lies,
  type Problem,
  weightGradientProblem,
} from './geometry.ts'
import type { Conv2d } from './problem.ts'

interface Shape {
  batch?: number
  groups?: number
  channels: number
  outputs: number
  image: [number, number]
  kernel: [number, number]
  stride?: [number, number]
  padding?: [number, number]
  dilation?: [number, number]
  /** The elements before each operand. */
  offset?: number
  splits?: number
  half?: Conv2d['dtypes']
  bench?: boolean
}

function convolutionOf(shape: Shape): Convolution {
  const { batch = 1, groups = 1, stride = [1, 1], padding = [0, 0], dilation = [1, 1], image, kernel } = shape
  const size = (d: 0 | 1) => Math.floor((image[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1) / stride[d]) + 1
  const { channels, outputs } = shape
  return { batch, groups, channels, outputs, image, kernel, output: [size(0), size(1)], stride, padding, dilation }
}

function contiguous(offset: number, shape: readonly number[]): Lies {
  return { offset, strides: shape.map((_, d) => shape.slice(d + 1).reduce((product, size) => product * size, 1)) }
}

/** The cases of y, of the gradient of x and of that of weight. */
function casesOf(shape: Shape): { forward: KernelCase<Conv2d>; input: KernelCase<Conv2d>[]; weight: KernelCase<Conv2d> } {
  const conv = convolutionOf(shape)
  const { batch, groups, channels, outputs, image, kernel, output, stride, padding, dilation } = conv
  const offset = shape.offset ?? 0
  const shapes = {
    x: [batch, groups * channels, ...image],
    weight: [groups * outputs, channels, ...kernel],
    y: [batch, groups * outputs, ...output],
  }
  const count = (list: readonly number[]) => list.reduce((product, size) => product * size, 1)
  const sizes = { x: offset + count(shapes.x), weight: offset + count(shapes.weight), y: offset + count(shapes.y) }
  const lies = {
    x: contiguous(offset, shapes.x),
    weight: contiguous(offset, shapes.weight),
    y: contiguous(offset, shapes.y),
  }
  const name = [
    `B${batch} ${groups > 1 ? `${groups} x ` : ''}${channels}-${outputs} ${image.join('x')} k${kernel.join('x')}`,
    `s${stride} p${padding} d${dilation}`,
    shape.half ? `f16 ${Object.keys(shape.half).join('')}` : '',
  ]
  const made = (what: string, p: Problem, a: number, x: number, c: number, biased = 0): KernelCase<Conv2d> => {
    const splits = Math.min(shape.splits ?? 1, p.depth)
    const chunk = splits > 1 ? Math.ceil(p.depth / splits) : Math.max(p.depth, 1)
    const parts = Math.ceil(p.depth / chunk) || 1
    return {
      name: [what, ...name, parts > 1 ? `${parts} splits` : ''].filter(Boolean).join(' '),
      problem: { ...p, splits: parts, chunk, cSplit: c, biased, ...(shape.half && { dtypes: shape.half }) },
      sizes: { a, x, bias: biased ? groups * outputs : 1, c: parts * c },
      ...(shape.half && { tolerance: 1e-3 }),
      ...(shape.bench && { bench: true }),
    }
  }
  const [xs, ws, ys] = [count(shapes.x), count(shapes.weight), count(shapes.y)]
  return {
    forward: made('forward', forwardProblem(conv, lies.x, lies.weight), sizes.weight, sizes.x, ys, 1),
    input: inputGradientProblems(conv, lies.weight, lies.y).map((p, i) =>
      made(`input gradient ${i}`, p, sizes.weight, sizes.y, xs),
    ),
    weight: made('weight gradient', weightGradientProblem(conv, lies.x, lies.y), sizes.y, sizes.x, ws),
  }
}

function all(shape: Shape): KernelCase<Conv2d>[] {
  const { forward, input, weight } = casesOf(shape)
  return [forward, ...input, weight]
}

export const conv2dCases: readonly KernelCase<Conv2d>[] = [
  ...all({ channels: 1, outputs: 1, image: [1, 1], kernel: [1, 1] }),
  ...all({ batch: 2, channels: 3, outputs: 5, image: [7, 6], kernel: [3, 3], padding: [1, 1], offset: 3 }),
  ...all({ batch: 3, channels: 5, outputs: 9, image: [9, 7], kernel: [3, 2], stride: [2, 1], padding: [1, 0] }),
  ...all({
    batch: 2,
    channels: 3,
    outputs: 4,
    image: [8, 11],
    kernel: [3, 3],
    stride: [2, 3],
    padding: [2, 1],
    dilation: [2, 3],
  }),
  ...all({ batch: 2, channels: 4, outputs: 7, image: [5, 5], kernel: [1, 1], stride: [2, 2] }),
  ...all({ batch: 2, groups: 3, channels: 2, outputs: 5, image: [6, 5], kernel: [3, 3], padding: [1, 1] }),
  ...all({ batch: 3, groups: 7, channels: 1, outputs: 1, image: [9, 9], kernel: [3, 3], padding: [1, 1], stride: [2, 2] }),
  ...all({ batch: 2, channels: 33, outputs: 65, image: [5, 7], kernel: [3, 3], padding: [1, 1] }),
  ...all({ batch: 2, channels: 3, outputs: 70, image: [9, 9], kernel: [5, 3], padding: [2, 1], splits: 3 }),
  ...all({
    batch: 2,
    channels: 9,
    outputs: 12,
    image: [6, 7],
    kernel: [3, 3],
    padding: [1, 1],
    half: { a: 'f16', x: 'f16', c: 'f16' },
  }),
  ...[16, 64].flatMap((channels) => {
    const image: [number, number] = channels === 16 ? [28, 28] : [14, 14]
    return all({ batch: 32, channels, outputs: channels, image, kernel: [3, 3], padding: [1, 1], bench: true })
  }),
]
