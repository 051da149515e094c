import { type Unzipped, unzipSync, zipSync } from 'fflate'
import { files } from '#platform'
import { checkObject, checkText, refusal } from '../../engine/base/checks.ts'
import { reason, UserError } from '../../engine/base/errors.ts'
import { checkOptions } from '../../engine/base/options.ts'
import { type Device, Tensor, tensor } from '../../engine/index.ts'
import { decodeNpy, encodeNpy, type NpyArray } from './npy.ts'

export interface LoadNpyOptions {
  /** The device that holds the tensors; by default the default device. */
  device?: Device
}

/** The most bytes of the arrays of an .npz file together: what decodes to more is refused before it is unpacked. */
const MOST_BYTES = 2 ** 31

/**
 * Saves a tensor as NumPy's .npy file, atomically: float32, float16 or int32, row-major.
 * @throws ArgumentError for other arguments; UserError in one line when the file cannot be written
 */
export async function saveNpy(path: string, t: Tensor): Promise<void> {
  checkText('saveNpy', path, 'path')
  await files.write(path, [encodeNpy(await arrayOf('saveNpy', t))])
}

/**
 * Loads an .npy file as a tensor. float64 is rounded to float32; float16 stays where the device has it, and becomes float32 elsewhere; whole
 * numbers and truth values become int32. Arrays in Fortran's order and of the other byte order are read, too.
 * @throws UserError in one line when the file is missing, malformed, or holds what tensors do not; ArgumentError for other arguments
 */
export async function loadNpy(path: string, options?: LoadNpyOptions): Promise<Tensor> {
  checkText('loadNpy', path, 'path')
  checkOptions('loadNpy', options, { device: true })
  return toTensor(decodeNpy(await files.read(path), path), options)
}

/**
 * Saves tensors as NumPy's .npz file, a zip of one .npy file for each name, without compression as `numpy.savez` does. The file is written
 * atomically.
 * @throws ArgumentError for other arguments; UserError in one line when the file cannot be written
 */
export async function saveNpz(path: string, tensors: Readonly<Record<string, Tensor>>): Promise<void> {
  checkText('saveNpz', path, 'path')
  checkObject('saveNpz', tensors, 'tensors by name', 'tensors')
  const arrays = await Promise.all(
    Object.entries(tensors).map(
      async ([name, t]) => [`${name}.npy`, encodeNpy(await arrayOf('saveNpz', t as Tensor))] as const,
    ),
  )
  // A fixed time makes equal tensors equal files.
  await files.write(path, [zipSync(Object.fromEntries(arrays), { level: 0, mtime: '1980-01-01' }) as Uint8Array<ArrayBuffer>])
}

/**
 * Loads the arrays of an .npz file, compressed or not, as tensors by name; otherwise as `loadNpy`.
 * @throws UserError in one line when the file is missing or malformed, or its arrays have more than 2 GiB; ArgumentError for other arguments
 */
export async function loadNpz(path: string, options?: LoadNpyOptions): Promise<Map<string, Tensor>> {
  checkText('loadNpz', path, 'path')
  checkOptions('loadNpz', options, { device: true })
  const found = Object.entries(unzip(await files.read(path), path)).map(([file, bytes]) => {
    return [file.replace(/\.npy$/, ''), decodeNpy(bytes, `${path}, ${file}`)] as const
  })
  return new Map(found.map(([name, array]) => [name, toTensor(array, options)]))
}

function unzip(bytes: Uint8Array, path: string): Unzipped {
  let total = 0
  try {
    return unzipSync(bytes, {
      filter({ name, originalSize }) {
        total += originalSize
        if (total > MOST_BYTES) throw new UserError(`${path}: holds arrays of more than 2 GiB; load them as .npy files`)
        return name.endsWith('.npy')
      },
    })
  } catch (error) {
    throw error instanceof UserError ? error : new UserError(`${path}: is no .npz file, or is damaged (${reason(error)})`)
  }
}

async function arrayOf(op: string, t: Tensor): Promise<NpyArray> {
  if (!(t instanceof Tensor) || t.disposed) throw refusal(op, t, 'a live tensor')
  return { dtype: t.dtype, shape: [...t.shape], data: await t.data() }
}

function toTensor({ dtype, shape, data }: NpyArray, { device }: LoadNpyOptions = {}): Tensor {
  const place = device && { device }
  const t = tensor(data, { shape, ...place })
  if (dtype !== 'float16' || !t.device.capabilities.f16) return t
  const half = t.cast('float16')
  t.dispose()
  return half
}
