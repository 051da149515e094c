import type { KernelSpec } from '../../kernels/spec.ts'
import { type DeviceBuffer, isPlanned, type PooledBuffer } from './deviceBuffer.ts'

/** Memory that counts who uses it and is freed with its last user. */
export interface Retained {
  retain(): this
  release(): void
}

/** A buffer from a byte offset on, as a kernel binds it. */
export interface Binding {
  buffer: DeviceBuffer
  /** In bytes, a multiple of 256. */
  offset: number
  /** Exclusive end of the bytes that are used; absent: the buffer's end. */
  end?: number
  /** Keeps the buffer alive. */
  owner?: Retained
}

/** A binding whose memory has its place in a pooled buffer. */
export interface ResolvedBinding {
  buffer: PooledBuffer
  offset: number
}

/** One use of a buffer by a command. */
export interface BufferUse {
  buffer: GPUBuffer
  write: boolean
}

/**
 * The place of a binding in a pooled buffer.
 * @throws Error for memory of a capture that is still being recorded, or that the capture did not return
 */
export function resolve(binding: Binding): ResolvedBinding {
  const { buffer, offset } = binding
  if (!isPlanned(buffer)) return binding as ResolvedBinding
  if (!buffer.place) throw new Error('a tensor made inside a capture that did not return it was used after it')
  return { buffer: buffer.place.block.buffer, offset: buffer.place.offset + offset }
}

/** The buffers that a dispatch reads and writes. */
export function usesOf({ bindings }: KernelSpec<any>, resolved: readonly ResolvedBinding[]): BufferUse[] {
  return resolved.map(({ buffer }, i) => ({ buffer: buffer.gpu, write: bindings[i]!.access === 'read_write' }))
}
