import type { Arrays } from '../spec.ts'
import type { MaxPool2d, Pool2d } from './pool2d.ts'

/** Calls `visit` for each element of each window that lies in its plane. */
function forEachElement(p: Pool2d, visit: (output: number, plane: number, y: number, x: number) => void): void {
  for (let output = 0; output < p.planes * p.outHeight * p.outWidth; output++) {
    const line = Math.floor(output / p.outWidth)
    const top = (line % p.outHeight) * p.strideY - p.padY
    const left = (output % p.outWidth) * p.strideX - p.padX
    for (let y = Math.max(top, 0); y < Math.min(top + p.sizeY, p.height); y++) {
      for (let x = Math.max(left, 0); x < Math.min(left + p.sizeX, p.width); x++) {
        visit(output, Math.floor(line / p.outHeight), y, x)
      }
    }
  }
}

function placeOf(p: Pool2d, plane: number, y: number, x: number): number {
  return p.xOffset + Math.floor(plane / p.channels) * p.xN + (plane % p.channels) * p.xC + y * p.xY + x * p.xX
}

export function maxPool2dReference(p: MaxPool2d, arrays: Arrays): Arrays {
  const { x, y, indices } = arrays as { x: Float64Array; y: Float64Array; indices: Float64Array }
  const seen = new Set<number>()
  forEachElement(p, (output, plane, row, column) => {
    const v = x[placeOf(p, plane, row, column)]!
    if (seen.has(output) && !Number.isNaN(v) && !(v > y[output]!)) return
    seen.add(output)
    y[output] = v
    if (p.indices) indices[output] = row * p.width + column
  })
  return { y, indices }
}

export function maxPool2dBackwardReference(p: Pool2d, arrays: Arrays): Arrays {
  const { dy, indices, dx } = arrays as { dy: Float64Array; indices: Float64Array; dx: Float64Array }
  const size = p.planes * p.height * p.width
  dx.fill(0, 0, size)
  forEachElement(p, (output, plane, row, column) => {
    const place = row * p.width + column
    if (indices[output] === place) dx[plane * p.height * p.width + place]! += dy[output]!
  })
  return { dx }
}

export function poolGatherReference(p: Pool2d, { x, indices, y }: Arrays): Arrays {
  const outputs = p.outHeight * p.outWidth
  for (let i = 0; i < p.planes * outputs; i++) y![i] = x![Math.floor(i / outputs) * p.height * p.width + indices![i]!]!
  return { y: y! }
}

export function averagePool2dReference(p: Pool2d, arrays: Arrays): Arrays {
  const { x, y } = arrays as { x: Float64Array; y: Float64Array }
  y.fill(0, 0, p.planes * p.outHeight * p.outWidth)
  forEachElement(p, (output, plane, row, column) => {
    y[output]! += x[placeOf(p, plane, row, column)]! / (p.sizeY * p.sizeX)
  })
  return { y }
}

export function averagePool2dBackwardReference(p: Pool2d, arrays: Arrays): Arrays {
  const { dy, dx } = arrays as { dy: Float64Array; dx: Float64Array }
  dx.fill(0, 0, p.planes * p.height * p.width)
  forEachElement(p, (output, plane, row, column) => {
    dx[(plane * p.height + row) * p.width + column]! += dy[output]! / (p.sizeY * p.sizeX)
  })
  return { dx }
}
