import { checkChoice, checkList, checkWhole, refusal } from '../../../engine/base/checks.ts'
import { ArgumentError, UserError } from '../../../engine/index.ts'
import { toHalves } from '../../../kernels/half.ts'
import { checkConfig, createModel, ParaFormer, type ParaFormerConfig } from '../../../model/index.ts'
import { saveSafetensors } from '../../checkpoint/files.ts'
import { evaluate } from '../../evaluate.ts'
import { type Entries, isBranch, readState } from '../../modelState.ts'
import { widened } from '../../run/checkpoint.ts'
import type { DataInfo } from '../../run/metadata.ts'
import type { Compression, CompressOptions } from './compress.ts'

export const SAVED_DTYPES = ['float32', 'float16'] as const
export type SavedDtype = (typeof SAVED_DTYPES)[number]

/** A model in host memory. */
export interface CutModel {
  config: ParaFormerConfig
  parameters: Entries
}

/**
 * Cuts a model down to some of its branches, in another order if asked.
 * @param branches indices of the branches to keep: the first one becomes branch 0
 * @param dtype the dtype to which the parameters are rounded
 * @throws UserError for a parameter beyond the range of float16; ArgumentError for arguments of a wrong kind, and for a branch that does
 *   not exist or is named twice
 */
export async function cutModel(model: ParaFormer, branches: readonly number[], dtype: SavedDtype): Promise<CutModel> {
  if (!(model instanceof ParaFormer)) throw refusal('cutModel', model, 'a ParaFormer', 'model')
  checkList('cutModel', branches, 'a list of indices of branches', 'branches')
  for (const branch of branches) checkWhole('cutModel', branch, 'a branch', 0, model.config.branches - 1)
  if (new Set(branches).size < branches.length)
    throw new ArgumentError(`cutModel: got branches ${branches.join(', ')}, takes each once`)
  checkChoice('cutModel', dtype, SAVED_DTYPES, 'dtype')
  const { parameters } = await readState({ model })
  const kept: Entries = new Map()
  for (const [name, entry] of parameters) if (!isBranch(name)) kept.set(name, entry)
  for (const [to, from] of branches.entries()) {
    const prefix = `branches.${from}.`
    for (const [name, entry] of parameters) {
      if (name.startsWith(prefix)) kept.set(`branches.${to}.${name.slice(prefix.length)}`, entry)
    }
  }
  const config = checkConfig({ ...model.config, branches: branches.length }, 'paraformer')
  return { config, parameters: dtype === 'float16' ? halved(kept) : kept }
}

/** Rounds parameters to float16. @throws UserError for a finite one that becomes infinite */
function halved(parameters: Entries): Entries {
  return new Map(
    [...parameters].map(([name, { shape, data }]) => {
      const values = data as Float32Array
      const beyond = values.find((value) => Number.isFinite(value) && Math.abs(value) >= 65520)
      if (beyond !== undefined) {
        throw new UserError(`${name} holds ${beyond}, which is beyond the range of float16; use --dtype float32`)
      }
      return [name, { dtype: 'F16', shape, data: toHalves(values) }]
    }),
  )
}

/** The model that was written, and its accuracy with the bits that were written. */
export interface Written {
  dtype: SavedDtype
  prefix: number
  parameters: number
  bytes: number
  validation: number
  test: number
}

/** Images on which a cut model is judged, and the mode in which its branches run; default `serial`. */
export type Judges = Pick<CompressOptions, 'validation' | 'test' | 'mode'>

/** Cuts a model down to the prefix that `compress()` chose. A model whose parameters were rounded is judged again. */
export async function cutChosen(
  model: ParaFormer,
  { order, chosen, prefixes }: Pick<Compression, 'order' | 'chosen' | 'prefixes'>,
  dtype: SavedDtype,
  judges: Judges,
): Promise<{ cut: CutModel; written: Written }> {
  const cut = await cutModel(model, order.slice(0, chosen), dtype)
  const { parameters, bytes, validation, test } = prefixes[chosen - 1]!
  const accuracies = dtype === 'float16' ? await accuraciesOf(cut, model, judges) : { validation, test }
  return { cut, written: { dtype, prefix: chosen, parameters, bytes: bytes[dtype], ...accuracies } }
}

/** Measures the accuracies of a model whose parameters were rounded. */
async function accuraciesOf(
  { config, parameters }: CutModel,
  { precision }: ParaFormer,
  { validation, test, mode = 'serial' }: Judges,
): Promise<{ validation: number; test: number }> {
  const model = createModel(config)
  model.precision = precision
  try {
    model.loadStateDict(new Map([...parameters].map(([name, entry]) => [name, widened(entry)])))
    const valid = await evaluate(model, validation, undefined, mode)
    const tested = await evaluate(model, test, undefined, mode)
    return { validation: valid.accuracies.at(-1)!, test: tested.accuracies.at(-1)! }
  } finally {
    model.dispose()
  }
}

/** Saves a model as `saveModel()` does, atomically. */
export async function saveCut(path: string, { config, parameters }: CutModel, data: DataInfo | undefined): Promise<void> {
  const metadata = { config: JSON.stringify(config), ...(data && { data: JSON.stringify(data) }) }
  await saveSafetensors(path, parameters, metadata)
}
