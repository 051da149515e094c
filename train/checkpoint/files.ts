import { files } from '#platform'
import { checkText, checkWhole, refusal } from '../../engine/base/checks.ts'
import { UserError } from '../../engine/base/errors.ts'
import { kindOf } from '../../engine/base/kind.ts'
import { checkOptions, type OptionNames, suggestion } from '../../engine/base/options.ts'
import type { Dtype, Tensor, TensorData } from '../../engine/index.ts'
import { toHalves } from '../../kernels/half.ts'
import { ARRAYS, type SafetensorsDtype, type SafetensorsEntry } from './dtypes.ts'
import { failIn, headerLength, PREFIX, parseHeader, quote } from './header.ts'
import { checkMetadata, checkName, encodePieces, knownDtype, type SafetensorsFile } from './safetensors.ts'

export { toFloat32 } from './dtypes.ts'

/** A tensor that can be saved: an engine tensor, which is read from its device, or an entry of `loadSafetensors`. */
export type Saveable = SafetensorsEntry | (Pick<Tensor, 'shape' | 'dtype'> & { data(): Promise<TensorData> })

const SAVED_AS: Readonly<Record<Dtype, SafetensorsDtype>> = { float32: 'F32', float16: 'F16', int32: 'I32' }

/**
 * Saves tensors to a safetensors file, atomically: the old file or the new one exists at every moment. Everything is read and checked
 * before anything is written. The values are those at the time of the call. The file may be larger than 2 GiB.
 * @param tensors a Map or a plain object by name; float32 tensors become F32, float16 F16, int32 I32. Views are saved whole, and so
 *   is each of several names of one tensor
 * @param metadata texts, stored as `__metadata__`
 * @throws UserError in one line when the file cannot be written, for names and metadata that are no texts, dtypes that the format lacks,
 *   shapes and data that disagree; ArgumentError for a path that is no text; the error of a tensor that cannot be read
 */
export async function saveSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Saveable> | Readonly<Record<string, Saveable>>,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  checkText('saveSafetensors', path, 'path')
  await files.write(path, await piecesOf(path, tensors, metadata))
}

/** Checks and encodes the pieces of a file; error messages start with its path. */
async function piecesOf(
  path: string,
  tensors: ReadonlyMap<string, Saveable> | Readonly<Record<string, Saveable>>,
  metadata?: Readonly<Record<string, string>>,
): Promise<Uint8Array[]> {
  try {
    if (typeof tensors !== 'object' || tensors === null || Symbol.iterator in tensors !== tensors instanceof Map) {
      throw new UserError(`got ${kindOf(tensors)} as tensors; give a Map or an object of tensors by name`)
    }
    if (typeof (tensors as { stateDict?: unknown }).stateDict === 'function')
      throw new UserError('got a model as tensors; give model.stateDict()')
    const named: [string, Saveable][] = tensors instanceof Map ? [...tensors] : Object.entries(tensors)
    checkMetadata(metadata)
    for (const [name] of named) checkName(name)
    // All reads are recorded now, so that a training step that comes next does not change the saved values.
    const entries = await Promise.all(named.map(async ([name, tensor]) => [name, await toEntry(name, tensor)] as const))
    return encodePieces(new Map(entries), metadata)
  } catch (error) {
    throw error instanceof UserError ? new UserError(`${path}: ${error.message}`) : error
  }
}

async function toEntry(name: string, tensor: Saveable): Promise<SafetensorsEntry> {
  if (typeof tensor?.data !== 'function') return tensor as SafetensorsEntry
  const { shape, dtype } = tensor as Pick<Tensor, 'shape' | 'dtype'>
  if (!Object.hasOwn(SAVED_AS, dtype)) {
    throw new UserError(
      `tensor ${quote(name)} has dtype ${kindOf(dtype)}; what can be saved is ${Object.keys(SAVED_AS).join(', ')}`,
    )
  }
  const data = await tensor.data()
  return { dtype: SAVED_AS[dtype], shape: [...shape], data: dtype === 'float16' ? toHalves(data) : data }
}

/** A tensor of an open file. */
export interface TensorInfo {
  /** The dtype as the file names it; values of an unknown dtype cannot be read. */
  dtype: string
  shape: readonly number[]
}

/** A safetensors file whose header was read and checked. `read` reads values. */
export interface OpenSafetensors {
  /** Tensors by name, in the order of the file. */
  readonly tensors: ReadonlyMap<string, TensorInfo>
  readonly metadata: Readonly<Record<string, string>>
  /**
   * Reads a tensor, or only its rows [begin, end) along the first dim.
   * @throws UserError in one line for an unknown name or dtype, or when the file cannot be read
   */
  read(name: string, rows?: readonly [begin: number, end: number]): Promise<SafetensorsEntry>
  close(): Promise<void>
}

/**
 * Opens a safetensors file of any size and reads its header alone. The caller must close it.
 * @throws UserError in one line when it is missing, unreadable or malformed; ArgumentError for a path that is no text
 */
export async function openSafetensors(path: string): Promise<OpenSafetensors> {
  checkText('openSafetensors', path, 'path')
  const file = await files.open(path)
  try {
    const fail = failIn(path)
    const { size } = file
    const length = headerLength(new Uint8Array(await file.read(0, Math.min(size, PREFIX))), size, fail)
    const start = PREFIX + length
    const { tensors, metadata } = parseHeader(new Uint8Array(await file.read(PREFIX, length)), size - start, fail)
    return {
      tensors,
      metadata,
      async read(name, rows) {
        const found = tensors.get(name)
        if (!found) throw new UserError(`${path}: has no tensor ${quote(name)}${suggestion(name, [...tensors.keys()])}`)
        const dtype = knownDtype(path, name, found.dtype)
        const [count = 1, ...rest] = found.shape
        const [first, last] = rows ?? [0, count]
        checkWhole('read', last, 'the end of the rows', 0, count)
        checkWhole('read', first, 'the begin of the rows', 0, last)
        const stride = count === 0 ? 0 : (found.end - found.begin) / count
        const data = new ARRAYS[dtype](await file.read(start + found.begin + first * stride, (last - first) * stride))
        return { dtype, shape: found.shape.length === 0 ? [] : [last - first, ...rest], data }
      },
      close: () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw error
  }
}

export interface LoadSafetensorsOptions {
  /** Names of the tensors to read; default all. */
  tensors?: Iterable<string>
}

const LOAD_OPTIONS: OptionNames<LoadSafetensorsOptions> = { tensors: true }

/**
 * Loads a safetensors file of any size: raw entries by name in the file's order (`toFloat32` converts them), and the metadata.
 * @throws UserError in one line when it is missing, unreadable or malformed, or a tensor to read is missing or has an unknown dtype;
 *   ArgumentError for a path that is no text and unknown options
 */
export async function loadSafetensors(path: string, options: LoadSafetensorsOptions = {}): Promise<SafetensorsFile> {
  checkText('loadSafetensors', path, 'path')
  checkOptions('loadSafetensors', options, LOAD_OPTIONS)
  const { tensors: names } = options
  if (names !== undefined && (typeof names !== 'object' || !(Symbol.iterator in names))) {
    throw refusal('loadSafetensors', names, 'a list of names', 'tensors')
  }
  const file = await openSafetensors(path)
  try {
    const tensors = new Map<string, SafetensorsEntry>()
    for (const name of names ?? file.tensors.keys()) tensors.set(name, await file.read(name))
    return { tensors, metadata: { ...file.metadata } }
  } finally {
    await file.close()
  }
}
