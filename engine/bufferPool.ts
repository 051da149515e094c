import { OutOfMemoryError } from './errors.ts'

/** A GPU buffer owned by the pool. */
export interface PooledBuffer {
  readonly id: number
  readonly gpu: GPUBuffer
  readonly bytes: number
  /** Serial of the last batch of commands recorded with it. */
  lastUse: number
  /** The device had no memory for it: nobody may get it again. */
  broken: boolean
}

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

/** Storage buffers by size class, reused; a freed buffer may be reused at once, since commands run in recorded order. */
export class BufferPool {
  readonly #device: GPUDevice
  readonly #free = new Map<number, PooledBuffer[]>()
  readonly #onDestroy: (buffer: PooledBuffer) => void
  readonly #onError: (error: Error) => void
  #statistics: MemoryStatistics = { liveBytes: 0, peakBytes: 0, cachedBytes: 0, buffers: 0 }
  #nextId = 0

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
    return buffer
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

  /** Takes a buffer back. */
  release(buffer: PooledBuffer): void {
    this.#statistics.liveBytes -= buffer.bytes
    if (buffer.broken) {
      this.#destroy(buffer)
      return
    }
    const size = sizeClass(buffer.bytes)
    const list = this.#free.get(size) ?? []
    this.#free.set(size, list)
    // The lowest id is last and taken first, whatever order buffers come back in: a step that allocates as the one before gets
    // the same buffers, and so finds its bind groups again.
    let at = list.length
    while (at > 0 && list[at - 1]!.id < buffer.id) at--
    list.splice(at, 0, buffer)
    this.#statistics.cachedBytes += buffer.bytes
  }

  /** Destroys free buffers, the largest first, until at most `keep` bytes of them are left. */
  trim(keep: number, submitted: number): void {
    const sizes = [...this.#free.keys()].sort((a, b) => b - a)
    for (const size of sizes) {
      const list = this.#free.get(size)!
      for (let i = list.length - 1; i >= 0 && this.#statistics.cachedBytes > keep; i--) {
        const buffer = list[i]!
        if (buffer.lastUse > submitted) continue
        list.splice(i, 1)
        this.#statistics.cachedBytes -= buffer.bytes
        this.#destroy(buffer)
      }
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
        const free = this.#free.get(sizeClass(size)) ?? []
        const at = free.indexOf(buffer)
        if (at >= 0) {
          free.splice(at, 1)
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
export function sizeClass(bytes: number): number {
  if (bytes <= 2048) return Math.max(256, Math.ceil(bytes / 256) * 256)
  const step = 2 ** (Math.floor(Math.log2(bytes)) - 3)
  return Math.ceil(bytes / step) * step
}
