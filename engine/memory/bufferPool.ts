import TinyQueue from 'tinyqueue'
import { collectGarbage } from '#platform'
import { OutOfMemoryError } from '../base/errors.ts'
import { getOrMake } from '../base/maps.ts'
import { type Block, type DeviceBuffer, isPlanned, type PooledBuffer } from './deviceBuffer.ts'

export interface MemoryStatistics {
  /** Bytes of buffers in use. */
  liveBytes: number
  /** Largest `liveBytes` so far. */
  peakBytes: number
  /** Bytes of free buffers kept for reuse. */
  cachedBytes: number
  /** The number of buffers, in use or kept. */
  buffers: number
}

/** Bytes of free buffers that the pool keeps, or as many as are in use where that is more. */
const CACHE_LIMIT = 256 << 20

/**
 * Garbage is collected when more bytes than this are in use and they have doubled since the last collection: JavaScript does not know how
 * much memory a dropped tensor holds. When collection has freed this many bytes, the pool warns.
 */
const COLLECT_FROM = 64 << 20

/**
 * The free buffers of one size class. The lowest id is taken first, in whatever order they come back: a step that allocates as the step
 * before it gets the same buffers, and so finds its bind groups in the cache.
 */
class FreeBuffers extends TinyQueue<PooledBuffer> {
  constructor(buffers: PooledBuffer[] = []) {
    super(buffers, (a, b) => a.id - b.id)
  }
}

/** Reuses storage buffers by size class. A freed buffer can be reused at once, because commands run in recorded order. */
export class BufferPool {
  readonly #device: GPUDevice
  /** Bytes that the device allows in one buffer. The binding asks the driver at each access of the limits. */
  readonly #limit: number
  readonly #free = new Map<number, FreeBuffers>()
  readonly #onDestroy: (buffer: PooledBuffer) => void
  readonly #onError: (error: Error) => void
  #statistics: MemoryStatistics = { liveBytes: 0, peakBytes: 0, cachedBytes: 0, buffers: 0 }
  #nextId = 0
  #collectAbove = COLLECT_FROM
  #reclaimedBytes = 0

  /**
   * @param onDestroy is called before a buffer is destroyed, so that its bind groups can be dropped
   * @param onError is called when the driver reports that an allocation failed, which it does later
   */
  constructor(device: GPUDevice, onDestroy: (buffer: PooledBuffer) => void, onError: (error: Error) => void) {
    this.#device = device
    this.#limit = Math.min(device.limits.maxBufferSize, device.limits.maxStorageBufferBindingSize)
    this.#onDestroy = onDestroy
    this.#onError = onError
  }

  get statistics(): MemoryStatistics {
    return { ...this.#statistics }
  }

  /** Sets `peakBytes` to the bytes in use now. */
  resetPeak(): void {
    this.#statistics.peakBytes = this.#statistics.liveBytes
  }

  /**
   * Gives a buffer of at least `bytes`, with undefined content.
   * @param submitted serial of the last submission that the driver has; buffers that later ones use are not destroyed
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

  /** Counts memory that was freed only because the garbage collector found its tensors dropped, and warns once when it is much. */
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

  /** Returns the bytes that the device allows in one buffer. @throws OutOfMemoryError when they are fewer than `bytes` */
  checkSize(bytes: number): number {
    const limit = this.#limit
    if (bytes > limit) {
      throw new OutOfMemoryError(
        `a tensor of ${bytes} bytes is larger than the ${limit} bytes that this device allows in one buffer; use a smaller batch`,
      )
    }
    return limit
  }

  /** Takes a buffer back; planned memory is free when its block has no users any more. */
  release(buffer: DeviceBuffer): void {
    if (isPlanned(buffer)) {
      buffer.released = true
      if (buffer.allocation) this.releaseBlock(buffer.allocation.block)
    } else this.#release(buffer)
  }

  /** Ends one use of a block, and takes its buffer back with the last one. */
  releaseBlock(block: Block): void {
    if (--block.users === 0) this.#release(block.buffer)
  }

  #release(buffer: PooledBuffer): void {
    this.#statistics.liveBytes -= buffer.bytes
    if (buffer.broken) {
      this.#destroy(buffer)
      return
    }
    getOrMake(this.#free, sizeClass(buffer.bytes), () => new FreeBuffers()).push(buffer)
    this.#statistics.cachedBytes += buffer.bytes
  }

  /** Destroys free buffers, largest first, until at most `keep` bytes of them are left. @param submitted as for `acquire` */
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

/** Rounds up to a multiple of an eighth of the power of two below, so that at most an eighth is wasted; small sizes to 256 bytes. */
function sizeClass(bytes: number): number {
  if (bytes <= 2048) return Math.max(256, Math.ceil(bytes / 256) * 256)
  const step = 2 ** (Math.floor(Math.log2(bytes)) - 3)
  return Math.ceil(bytes / step) * step
}
