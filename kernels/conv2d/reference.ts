import type { Arrays } from '../spec.ts'
import type { Conv2d } from './problem.ts'

/** An index as (n * height + i) * width + j. */
function placeOf(index: number, height: number, width: number): [n: number, i: number, j: number] {
  const line = Math.floor(index / width)
  return [Math.floor(line / height), line % height, index % width]
}

export function conv2dReference(p: Conv2d, arrays: Arrays): Arrays {
  const { a, x, bias, c } = arrays as Record<string, Float64Array>
  for (let group = 0; group < p.groups; group++) {
    for (let column = 0; column < p.columns; column++) {
      const [cn, ci, cj] = placeOf(column, p.columnHeight, p.columnWidth)
      for (let row = 0; row < p.rows; row++) {
        for (let split = 0; split < p.splits; split++) {
          let sum = p.biased && split === 0 ? bias![group * p.rows + row]! : 0
          for (let k = split * p.chunk; k < Math.min((split + 1) * p.chunk, p.depth); k++) {
            const [kn, ki, kj] = placeOf(k, p.depthHeight, p.depthWidth)
            const y = p.y0 + p.yDepth * ki + p.yColumn * ci
            const z = p.x0 + p.xStepDepth * kj + p.xStepColumn * cj
            if (y < 0 || y >= p.height || z < 0 || z >= p.width) continue
            const left = a![p.aOffset + group * p.aGroup + row * p.aRow + kn * p.aN + ki * p.aY + kj * p.aX]!
            const plane = p.xOffset + group * p.xGroup + kn * p.xDepth + cn * p.xColumn
            sum += left * x![plane + y * p.xY + z * p.xX]!
          }
          const at = p.cOffset + split * p.cSplit + group * p.cGroup + row * p.cRow
          c![at + cn * p.cN + ci * p.cY + cj * p.cX] = sum
        }
      }
    }
  }
  return arrays
}
