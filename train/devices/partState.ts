import { zeroGrad } from '../../engine/autograd/backward.ts'
import type { Tensor } from '../../engine/index.ts'
import type { Module, Parameter } from '../../model/index.ts'
import { toFloat32 } from '../checkpoint/files.ts'
import type { SafetensorsEntry } from '../checkpoint/safetensors.ts'
import type { AdamW } from '../optim/adamW.ts'
import type { Entries, PartState } from './worker.ts'

export type NamedTensors = Tensor | SafetensorsEntry

export const isStem = (name: string): boolean => !isBranch(name) && !name.startsWith('head.')
export const isBranch = (name: string): boolean => name.startsWith('branches.')

/** Reads tensors by name. */
export async function readEntries(tensors: Iterable<readonly [string, Tensor]>): Promise<Entries> {
  const reads = Array.from(tensors, async ([name, t]): Promise<[string, SafetensorsEntry]> => {
    return [name, { dtype: 'F32', shape: [...t.shape], data: await t.data() }]
  })
  return new Map(await Promise.all(reads))
}

/** Reads the gradients of parameters, zeros where there is none, and frees them. */
export async function takeGradients(named: readonly (readonly [string, Parameter])[]): Promise<Entries> {
  const found = readEntries(named.flatMap(([name, { grad }]) => (grad ? [[name, grad]] : [])))
  zeroGrad(named.map(([, parameter]) => parameter))
  const entries = await found
  const zeros = ({ shape, size }: Parameter): SafetensorsEntry => ({
    dtype: 'F32',
    shape: [...shape],
    data: new Float32Array(size),
  })
  return new Map(named.map(([name, parameter]) => [name, entries.get(name) ?? zeros(parameter)]))
}

/** Reads the parameters of a model with what its optimizer, if it has one, knows of them. */
export async function takeState({ model, optimizer }: { model: Module; optimizer?: AdamW | undefined }): Promise<PartState> {
  const moments = optimizer?.state() ?? { m: [], v: [] }
  const reads = [model.namedParameters(), moments.m, moments.v].map(readEntries)
  const counts = optimizer?.steps() ?? Promise.resolve({})
  for (const [, t] of [...moments.m, ...moments.v]) t.dispose()
  const [steps, parameters, m, v] = await Promise.all([counts, ...reads])
  return { parameters: parameters!, m: m!, v: v!, steps }
}

/** The part of a state whose names `takes` says. */
export function partOf({ parameters, m, v, steps }: PartState, takes: (name: string) => boolean): PartState {
  const of = (entries: Entries) => new Map([...entries].filter(([name]) => takes(name)))
  const counts = Object.fromEntries(Object.entries(steps).filter(([name]) => takes(name)))
  return { parameters: of(parameters), m: of(m), v: of(v), steps: counts }
}

/** Puts moments and step counts into the optimizer of the device where their parameters live. */
export function restoreMoments(optimizer: AdamW, { m, v, steps }: PartState): void {
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
