import type { Tensor } from '../../engine/tensor/tensor.ts'

/** Fails unless a tensor has the dtype and the values: numbers to 1e-6 of each, all others, and the signs of zeros, exactly. */
export async function equalValues(what: string, t: Tensor, dtype: string, expected: readonly number[]): Promise<void> {
  const data = [...(await t.data())]
  const same = data.every(
    (value, i) => Object.is(value, expected[i]) || Math.abs(value - expected[i]!) <= 1e-6 * Math.abs(expected[i]!),
  )
  if (t.dtype !== dtype || data.length !== expected.length || !same)
    throw new Error(`${what}: ${t.dtype} ${data}, expected ${dtype} ${expected}`)
}
