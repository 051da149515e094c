import type { KernelCase } from '../spec.ts'
import type { MaxPool2d, Pool2d } from './pool2d.ts'

interface Shape {
  batch?: number
  channels?: number
  image: [number, number]
  size: [number, number]
  stride: [number, number]
  pad?: [number, number]
  offset?: number
  half?: boolean
  bench?: boolean
}

function problemOf(shape: Shape): Pool2d {
  const { batch = 1, channels = 1, image, size, stride, pad = [0, 0], offset = 0 } = shape
  const out = [0, 1].map((d) => Math.floor((image[d]! + 2 * pad[d]! - size[d]!) / stride[d]!) + 1)
  const plane = image[0] * image[1]
  return {
    planes: batch * channels,
    channels,
    height: image[0],
    width: image[1],
    outHeight: out[0]!,
    outWidth: out[1]!,
    sizeY: size[0],
    sizeX: size[1],
    strideY: stride[0],
    strideX: stride[1],
    padY: pad[0],
    padX: pad[1],
    ...{ xOffset: offset, xN: channels * plane, xC: plane, xY: image[1], xX: 1 },
    ...(shape.half && { dtype: 'f16' }),
  }
}

const SHAPES: readonly Shape[] = [
  { image: [1, 1], size: [1, 1], stride: [1, 1] },
  { batch: 2, channels: 3, image: [7, 6], size: [2, 2], stride: [2, 2], offset: 3 },
  { batch: 2, channels: 2, image: [9, 40], size: [3, 3], stride: [1, 1], pad: [1, 1] },
  { batch: 1, channels: 3, image: [8, 11], size: [3, 2], stride: [2, 3], pad: [1, 0] },
  { batch: 1, channels: 2, image: [5, 6], size: [2, 2], stride: [3, 4] },
  { batch: 1, channels: 2, image: [10, 70], size: [8, 60], stride: [1, 2], pad: [4, 30] },
  { batch: 2, channels: 3, image: [7, 6], size: [2, 2], stride: [2, 2], half: true },
  { batch: 32, channels: 64, image: [28, 28], size: [2, 2], stride: [2, 2], bench: true },
]

function casesOf<P extends Pool2d>(
  make: (problem: Pool2d, sizes: { x: number; y: number }) => Pick<KernelCase<P>, 'problem' | 'sizes' | 'fills'>,
  name = '',
): KernelCase<P>[] {
  return SHAPES.map((shape) => {
    const p = problemOf(shape)
    const made = make(p, { x: p.planes * p.height * p.width, y: p.planes * p.outHeight * p.outWidth })
    const windows = `${shape.size.join('x')} s${shape.stride} p${shape.pad ?? 0}`
    return {
      ...made,
      name: `${p.planes} x ${shape.image.join('x')}, ${windows}${shape.half ? ' f16' : ''}${name}`,
      ...(shape.half && { tolerance: 1e-3 }),
      ...(shape.bench && { bench: true }),
    }
  })
}

const forward = (p: Pool2d, { x, y }: { x: number; y: number }) => ({ x: p.xOffset + x, y })

export const maxPool2dCases: readonly KernelCase<MaxPool2d>[] = [
  ...casesOf<MaxPool2d>((p, sizes) => ({
    problem: { ...p, indices: true },
    sizes: { ...forward(p, sizes), indices: sizes.y },
  })),
  ...casesOf<MaxPool2d>(
    (p, sizes) => ({ problem: { ...p, indices: false }, sizes: { ...forward(p, sizes), indices: 1 } }),
    ' without indices',
  ).slice(1, 3),
]

/** Fills with the places of the last elements of the windows. */
function lastPlaces(p: Pool2d): (i: number) => number {
  return (i) => {
    const [row, column] = [Math.floor(i / p.outWidth) % p.outHeight, i % p.outWidth]
    const y = Math.min(row * p.strideY - p.padY + p.sizeY, p.height) - 1
    return y * p.width + Math.min(column * p.strideX - p.padX + p.sizeX, p.width) - 1
  }
}

export const maxPool2dBackwardCases: readonly KernelCase<Pool2d>[] = casesOf((p, { x, y }) => ({
  problem: { ...p, xOffset: 0 },
  sizes: { dy: y, indices: y, dx: x },
  fills: { indices: lastPlaces(p) },
}))

export const poolGatherCases: readonly KernelCase<Pool2d>[] = casesOf((p, { x, y }) => ({
  problem: { ...p, xOffset: 0 },
  sizes: { x, indices: y, y },
  fills: { indices: lastPlaces(p) },
}))

export const averagePool2dCases: readonly KernelCase<Pool2d>[] = casesOf((p, sizes) => ({
  problem: p,
  sizes: forward(p, sizes),
}))

export const averagePool2dBackwardCases: readonly KernelCase<Pool2d>[] = casesOf((p, { x, y }) => ({
  problem: { ...p, xOffset: 0 },
  sizes: { dy: y, dx: x },
}))
