import type { KernelSpec } from '../../kernels/spec.ts'
import type { BufferUse } from '../submit/barriers.ts'
import type { PooledBuffer } from './bufferPool.ts'
import { type DeviceBuffer, isPlanned } from './plannedMemory.ts'
import type { Storage } from './storage.ts'

/** A binding: a buffer from a byte offset on. */
export interface Binding {
  buffer: DeviceBuffer
  /** A multiple of 256. */
  offset: number
  /** Byte behind the last one used; absent: the buffer's end. */
  end?: number
  /** What keeps the buffer alive. */
  owner?: Storage
}

/** A binding in memory that there is. */
export interface ResolvedBinding {
  buffer: PooledBuffer
  offset: number
}

/** Where a range lies. @throws Error for memory of a capture that is still being recorded, or did not return it */
export function resolve(range: Binding): ResolvedBinding {
  const { buffer, offset } = range
  if (!isPlanned(buffer)) return range as ResolvedBinding
  if (!buffer.place) throw new Error('a tensor made inside a capture that did not return it was used after it')
  return { buffer: buffer.place.block.buffer, offset: buffer.place.offset + offset }
}

/** How a dispatch uses what it binds. */
export function usesOf({ bindings }: KernelSpec<any>, places: readonly ResolvedBinding[]): BufferUse[] {
  return places.map(({ buffer }, i) => ({ buffer: buffer.gpu, write: bindings[i]!.access === 'read_write' }))
}
