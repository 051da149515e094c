import { zeroGrad } from '../engine/autograd/backward.ts'
import { scope, type Tensor } from '../engine/index.ts'
import type { Module, Parameter } from '../model/index.ts'
import { type SafetensorsEntry, toFloat32 } from './checkpoint/dtypes.ts'
import type { AdamW } from './optim/adamW.ts'

/** Values by parameter name. */
export type Entries = Map<string, SafetensorsEntry>

/** Parameters of a model, or of a part of it, with their moments and step counts in AdamW. */
export interface ModelState {
  parameters: Entries
  m: Entries
  v: Entries
  steps: Record<string, number>
}

export const isBranch = (name: string): boolean => name.startsWith('branches.')
export const isStem = (name: string): boolean => !isBranch(name) && !name.startsWith('head.')

/** Reads tensors by name. The reads are recorded before it returns. */
async function readEntries(tensors: Iterable<readonly [string, Tensor]>): Promise<Entries> {
  const reads = Array.from(tensors, async ([name, t]): Promise<[string, SafetensorsEntry]> => {
    return [name, { dtype: 'F32', shape: [...t.shape], data: await t.data() }]
  })
  return new Map(await Promise.all(reads))
}

/** Reads and clears the gradients of parameters; a parameter without one gets zeros. */
export async function takeGradients(named: readonly (readonly [string, Parameter])[]): Promise<Entries> {
  const reading = readEntries(named.flatMap(([name, { grad }]) => (grad ? [[name, grad]] : [])))
  zeroGrad(named.map(([, parameter]) => parameter))
  const entries = await reading
  const zeros = ({ shape, size }: Parameter): SafetensorsEntry => ({
    dtype: 'F32',
    shape: [...shape],
    data: new Float32Array(size),
  })
  return new Map(named.map(([name, parameter]) => [name, entries.get(name) ?? zeros(parameter)]))
}

/** Reads the state of a model and its optimizer; without an optimizer moments and step counts are empty. */
export async function readState({ model, optimizer }: { model: Module; optimizer?: AdamW | undefined }): Promise<ModelState> {
  const reads = scope(() => {
    const { m, v } = optimizer?.state() ?? { m: [], v: [] }
    return [optimizer?.steps() ?? {}, ...[model.namedParameters(), m, v].map(readEntries)] as const
  })
  const [steps, parameters, m, v] = await Promise.all(reads)
  return { parameters: parameters!, m: m!, v: v!, steps }
}

/** Returns the part of a state whose parameter names `takes` accepts. */
export function partOf({ parameters, m, v, steps }: ModelState, takes: (name: string) => boolean): ModelState {
  const of = (entries: Entries) => new Map([...entries].filter(([name]) => takes(name)))
  const counts = Object.fromEntries(Object.entries(steps).filter(([name]) => takes(name)))
  return { parameters: of(parameters), m: of(m), v: of(v), steps: counts }
}

/** Overwrites the moments that a state has, and all step counts, of the optimizer that holds their parameters. */
export function restoreMoments(optimizer: AdamW, { m, v, steps }: Omit<ModelState, 'parameters'>): void {
  scope(() => {
    const moments = optimizer.state()
    for (const [name, entry] of m) moments.m.get(name)!.write(toFloat32(entry))
    for (const [name, entry] of v) moments.v.get(name)!.write(toFloat32(entry))
  })
  optimizer.setSteps(steps)
}
