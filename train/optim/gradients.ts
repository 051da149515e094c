import type { Tensor } from '../../engine/index.ts'

/** Reads the gradients that the last step left in the optimizer's arenas, by parameter name, copied to the host. */
export async function gradientsOf(named: readonly (readonly [string, Tensor])[]): Promise<Map<string, Float32Array>> {
  const reads = named.map(async ([name, { gradSlot }]) => [name, (await gradSlot!.data()) as Float32Array] as const)
  return new Map(await Promise.all(reads))
}
