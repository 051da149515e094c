import TinyQueue from 'tinyqueue'
import { collectGarbage } from '#platform'
import { OutOfMemoryError } from '../base/errors.ts'
import { type Block, type DeviceBuffer, isPlanned, type PooledBuffer } from './deviceBuffer.ts'

export interface MemoryStatistics {
  /** Bytes of buffers in use. */
  liveBytes: number
  /** Largest `liveBytes` so far. */
  peakBytes: number
  /** Bytes of free buffers kept for reuse. */
  cachedBytes: number
  /** Buffers in use and kept. */
  buffers: number
}

/** Free buffers beyond this, and beyond what is in use, go back to the driver. */
const CACHE_LIMIT = 256 << 20

/**
 * Bytes in use from which on the garbage is collected, each time that twice as many are in use as after the last collection: JavaScript does
 * not know how much memory a dropped tensor holds. The same amount, given back in that way, is worth a warning.
 */
const COLLECT_FROM = 64 << 20

/** Free buffers of one size class. The lowest id is taken first, whatever order they come back in: a step that allocates as the one before gets
 * the same buffers, and so finds its bind groups again. */
class FreeBuffers extends TinyQueue<PooledBuffer> {
  constructor(buffers: PooledBuffer[] = []) {
    super(buffers, (a, b) => a.id - b.id)
  }
}

/** Storage buffers by size class, reused; a freed buffer may be reused at once, since commands run in recorded order. */
export class BufferPool {
  readonly #device: GPUDevice
  readonly #free = new Map<number, FreeBuffers>()
  readonly #onDestroy: (buffer: PooledBuffer) => void
  readonly #onError: (error: Error) => void
  #statistics: MemoryStatistics = { liveBytes: 0, peakBytes: 0, cachedBytes: 0, buffers: 0 }
  #nextId = 0
  #collectAbove = COLLECT_FROM
  #reclaimedBytes = 0

  /**
   * @param onDestroy called for a buffer before it is destroyed, so that its bind groups can be dropped
   * @param onError called when the driver reports, later, that an allocation failed
   */
  constructor(device: GPUDevice, onDestroy: (buffer: PooledBuffer) => void, onError: (error: Error) => void) {
    this.#device = device
    this.#onDestroy = onDestroy
    this.#onError = onError
  }

  get statistics(): MemoryStatistics {
    return { ...this.#statistics }
  }

  /** Forgets the peak so far. */
  resetPeak(): void {
    this.#statistics.peakBytes = this.#statistics.liveBytes
  }

  /**
   * A buffer of at least `bytes`, its content undefined.
   * @param submitted serial of the last batch handed to the driver: only buffers not used since may be destroyed
   * @throws OutOfMemoryError when the device allows no buffer that large
   */
  acquire(bytes: number, submitted: number): PooledBuffer {
    const limit = this.checkSize(bytes)
    const size = sizeClass(bytes)
    const buffer = this.#free.get(size)?.pop() ?? this.#create(Math.min(size, limit), submitted)
    if (buffer.lastUse >= 0) this.#statistics.cachedBytes -= buffer.bytes
    else buffer.lastUse = 0
    this.#statistics.liveBytes += buffer.bytes
    this.#statistics.peakBytes = Math.max(this.#statistics.peakBytes, this.#statistics.liveBytes)
    if (this.#statistics.liveBytes > this.#collectAbove) {
      this.#collectAbove = 2 * this.#statistics.liveBytes
      collectGarbage()
    }
    return buffer
  }

  /** Counts memory that came back because the garbage collector found its tensors dropped; warns once when that is much. */
  reclaimed(bytes: number): void {
    this.#collectAbove = Math.max(COLLECT_FROM, 2 * this.#statistics.liveBytes)
    const before = this.#reclaimedBytes
    this.#reclaimedBytes += bytes
    if (before < COLLECT_FROM && this.#reclaimedBytes >= COLLECT_FROM) {
      console.warn(
        `paraformer: ${COLLECT_FROM >> 20} MiB of tensors were dropped and only found by the garbage collector; run steps inside scope(), or ` +
          'dispose() of tensors, so that their memory is free at once',
      )
    }
  }

  /** The bytes that the device allows in one buffer. @throws OutOfMemoryError when that is less than `bytes` */
  checkSize(bytes: number): number {
    const { maxBufferSize, maxStorageBufferBindingSize } = this.#device.limits
    const limit = Math.min(maxBufferSize, maxStorageBufferBindingSize)
    if (bytes > limit) {
      throw new OutOfMemoryError(
        `a tensor of ${bytes} bytes is larger than the ${limit} bytes that this device allows in one buffer; use a smaller batch`,
      )
    }
    return limit
  }

  /** Takes a buffer back; planned memory only once the last user of its block is gone. */
  release(buffer: DeviceBuffer): void {
    if (isPlanned(buffer)) {
      buffer.released = true
      if (buffer.place) this.releaseBlock(buffer.place.block)
    } else this.#release(buffer)
  }

  /** Takes one of its users from a block. */
  releaseBlock(block: Block): void {
    if (--block.users === 0) this.#release(block.buffer)
  }

  #release(buffer: PooledBuffer): void {
    this.#statistics.liveBytes -= buffer.bytes
    if (buffer.broken) {
      this.#destroy(buffer)
      return
    }
    const size = sizeClass(buffer.bytes)
    let free = this.#free.get(size)
    if (!free) {
      free = new FreeBuffers()
      this.#free.set(size, free)
    }
    free.push(buffer)
    this.#statistics.cachedBytes += buffer.bytes
  }

  /** Destroys free buffers, the largest first, until at most `keep` bytes of them are left. */
  trim(keep: number, submitted: number): void {
    const sizes = [...this.#free.keys()].sort((a, b) => b - a)
    for (const size of sizes) {
      const kept = this.#free.get(size)!.data.filter((buffer) => {
        if (buffer.lastUse > submitted || this.#statistics.cachedBytes <= keep) return true
        this.#statistics.cachedBytes -= buffer.bytes
        this.#destroy(buffer)
        return false
      })
      this.#free.set(size, new FreeBuffers(kept))
    }
  }

  #destroy(buffer: PooledBuffer): void {
    this.#onDestroy(buffer)
    buffer.gpu.destroy()
    this.#statistics.buffers--
  }

  #create(size: number, submitted: number): PooledBuffer {
    const { cachedBytes, liveBytes } = this.#statistics
    if (cachedBytes > Math.max(CACHE_LIMIT, liveBytes)) this.trim(Math.max(CACHE_LIMIT, liveBytes) / 2, submitted)
    const device = this.#device
    device.pushErrorScope('out-of-memory')
    const gpu = device.createBuffer({
      size,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    })
    this.#statistics.buffers++
    const buffer = { id: this.#nextId++, gpu, bytes: size, lastUse: -1, broken: false }
    device.popErrorScope().then(
      (error) => {
        if (!error) return
        buffer.broken = true
        const free = this.#free.get(sizeClass(size))?.data ?? []
        if (free.includes(buffer)) {
          this.#free.set(sizeClass(size), new FreeBuffers(free.filter((other) => other !== buffer)))
          this.#statistics.cachedBytes -= size
          this.#destroy(buffer)
        }
        const { liveBytes: live, cachedBytes: cached } = this.#statistics
        this.#onError(
          new OutOfMemoryError(
            `the device has no ${size} bytes left (${live} in use, ${cached} kept for reuse); use a smaller batch or model`,
          ),
        )
      },
      () => {},
    )
    return buffer
  }
}

/** Rounds up to an eighth of a power of two (256 bytes at least), so that at most an eighth is wasted. */
function sizeClass(bytes: number): number {
  if (bytes <= 2048) return Math.max(256, Math.ceil(bytes / 256) * 256)
  const step = 2 ** (Math.floor(Math.log2(bytes)) - 3)
  return Math.ceil(bytes / step) * step
}
