import type { Tensor } from '../../engine/index.ts'
import type { Parameter } from '../../model/index.ts'
import { toFloat32 } from '../checkpoint/files.ts'
import type { SafetensorsEntry } from '../checkpoint/safetensors.ts'
import type { AdamW } from '../optim/adamW.ts'
import type { Residents } from './residents.ts'
import type { Entries, PartState } from './shard.ts'

export type NamedTensors = Tensor | SafetensorsEntry

export const isBranch = (name: string): boolean => name.startsWith('branches.')

/** Reads tensors by name. */
export async function readEntries(tensors: Iterable<readonly [string, Tensor]>): Promise<Entries> {
  const reads = Array.from(tensors, async ([name, t]): Promise<[string, SafetensorsEntry]> => {
    return [name, { dtype: 'F32', shape: [...t.shape], data: await t.data() }]
  })
  return new Map(await Promise.all(reads))
}

/** Reads the gradients of parameters, zeros where there is none, and forgets them. */
export async function takeGradients(named: readonly (readonly [string, Parameter])[]): Promise<Entries> {
  const found = readEntries(named.flatMap(([name, { grad }]) => (grad ? [[name, grad]] : [])))
  for (const [, parameter] of named) {
    parameter.grad?.dispose()
    parameter.grad = undefined
  }
  const entries = await found
  const zeros = ({ shape, size }: Parameter): SafetensorsEntry => ({
    dtype: 'F32',
    shape: [...shape],
    data: new Float32Array(size),
  })
  return new Map(named.map(([name, parameter]) => [name, entries.get(name) ?? zeros(parameter)]))
}

/** Reads what lives on a device, or what of it `takes` says, with what its optimizer knows of it. */
export async function takeState({ model, optimizer }: Residents, takes = (_name: string) => true): Promise<PartState> {
  const read = (tensors: Iterable<readonly [string, Tensor]>) => readEntries([...tensors].filter(([name]) => takes(name)))
  const moments = optimizer.state()
  const reads = [read(model.namedParameters()), read(moments.m), read(moments.v), optimizer.steps()] as const
  for (const t of [...moments.m.values(), ...moments.v.values()]) t.dispose()
  const [parameters, m, v, steps] = await Promise.all(reads)
  return { parameters, m, v, steps: Object.fromEntries(Object.entries(steps).filter(([name]) => takes(name))) }
}

/** Puts moments and step counts into the optimizer of the device where their parameters live. */
export function restoreMoments(optimizer: AdamW, { m, v, steps }: Omit<PartState, 'parameters'>): void {
  const moments = optimizer.state()
  for (const [entries, tensors] of [
    [m, moments.m],
    [v, moments.v],
  ] as const) {
    for (const [name, entry] of entries) tensors.get(name)!.write(toFloat32(entry))
    for (const t of tensors.values()) t.dispose()
  }
  optimizer.setSteps(steps)
}
