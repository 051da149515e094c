import type { KernelSpec } from '../../kernels/spec.ts'
import { type DeviceBuffer, isPlanned, type PooledBuffer } from './deviceBuffer.ts'

/** An object that counts its users and is freed with the last of them. */
export interface RefCounted {
  retain(): this
  release(): void
}

/** A part of a buffer that a command uses, such as a kernel's operand. */
export interface Binding {
  buffer: DeviceBuffer
  /** Start, in bytes; a kernel can bind multiples of 256. */
  offset: number
  /** Exclusive end of the bytes that are used; default: the end of the buffer. */
  end?: number | undefined
  /** The owner that keeps the buffer alive. */
  owner?: RefCounted
}

/** A binding in a buffer that exists on the device. */
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
 * Resolves a binding in planned memory to the pooled buffer that the memory plan gave it.
 * @throws Error for memory without a plan: a graph is still being captured, or did not return the tensor
 */
export function resolve(binding: Binding): ResolvedBinding {
  const { buffer, offset } = binding
  if (!isPlanned(buffer)) return binding as ResolvedBinding
  const { allocation } = buffer
  if (!allocation) throw new Error('a tensor made inside a capture that did not return it was used after it')
  return { buffer: allocation.block.buffer, offset: allocation.offset + offset }
}

/** Lists the buffers that a dispatch reads and writes. */
export function usesOf({ bindings }: KernelSpec<any>, resolved: readonly ResolvedBinding[]): BufferUse[] {
  return resolved.map(({ buffer }, i) => ({ buffer: buffer.gpu, write: bindings[i]!.access === 'read_write' }))
}
