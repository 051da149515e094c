import { grad } from '../../engine/ops/grad.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import type { Tensor } from '../../engine/tensor/tensor.ts'
import { normals } from './checkOp.ts'
import { assertClose } from './errors.ts'

/** An input of an op under test, float32. */
export interface Sample {
  data: Float32Array
  shape: readonly number[]
}

export function sample(shape: readonly number[], seed: number, map: (value: number) => number = (value) => value): Sample {
  const size = shape.reduce((product, n) => product * n, 1)
  return { data: normals(size, seed).map(map), shape }
}

/**
 * Checks the second derivatives of a function by central differences of its first ones, along a random direction in all inputs: with the
 * gradients g(x) of c · f(x), the gradient of u · g(x) must be the change of g along u.
 * @param op is smooth around the inputs
 * @param options.step the distance of the differences, as a multiple of the direction
 */
export async function checkSecondDerivatives(
  what: string,
  op: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Sample[],
  options: { step?: number; tolerance?: number } = {},
): Promise<void> {
  const { step = 1e-2, tolerance = 4e-3 } = options
  const directions = inputs.map(({ data }, i) => normals(data.length, 1000 + i))
  const leaves = (by: number) =>
    inputs.map(({ data, shape }, i) => {
      const values = data.map((value, k) => value + by * directions[i]![k]!)
      return tensor(values, { shape, requiresGrad: true })
    })
  const cotangentOf = (output: Tensor) => tensor(normals(output.size, 999), { shape: output.shape })
  const firstAt = async (by: number) => {
    const at = leaves(by)
    const output = op(...at)
    const found = grad(output, at, { cotangent: cotangentOf(output) })
    return Promise.all(found.map(async (g) => g.data()))
  }
  const at = leaves(0)
  const output = op(...at)
  const first = grad(output, at, { cotangent: cotangentOf(output), createGraph: true })
  const plain = await firstAt(0)
  for (const [i, g] of first.entries()) assertClose(await g.data(), plain[i]!, 1e-5, `${what}: gradient ${i} on the tape`)
  // Gradients that depend on no input are constants, whose derivative is 0.
  const parts = first.flatMap((g, i) => (g.requiresGrad ? [g.mul(tensor(directions[i]!, { shape: g.shape })).sum()] : []))
  const [low, high] = [await firstAt(-step), await firstAt(step)]
  const expected = low.map((values, i) => Float64Array.from(values, (value, k) => (high[i]![k]! - value) / (2 * step)))
  const second =
    parts.length > 0
      ? grad(
          parts.reduce((a, b) => a.add(b)),
          at,
        )
      : []
  for (const [i, values] of expected.entries()) {
    const found = second[i] ? await second[i].data() : new Float32Array(values.length)
    // Where a derivative is 0, differences have the rounding errors of the gradients.
    const noise = Math.hypot(...plain[i]!) * 1e-4
    if (Math.hypot(...values) < noise) {
      if (!(Math.hypot(...found) < noise)) throw new Error(`${what}: second derivative ${i} is not 0`)
    } else assertClose(found, values, tolerance, `${what}: second derivative ${i}`)
  }
}
