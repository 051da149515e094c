import { setImmediate } from 'node:timers'

/** Milliseconds after a submission for which Dawn may poll without pause. */
const EAGER_MS = 1
/**
 * As many more for each op: what a small dispatch takes. A processor that sleeps wakes late for each of lavapipe's threads, and a row of small
 * dispatches takes twice as long there.
 */
const EAGER_MS_PER_OP = 0.02
/** The most milliseconds from now for which Dawn may poll without pause. */
const MOST_EAGER_MS = 40

let eagerUntil = 0

/** Notes that work was submitted, whose answer may come soon. @param ops the number of dispatches that ops recorded one by one */
export function expectAnswer(ops: number): void {
  const now = performance.now()
  eagerUntil = Math.min(now + MOST_EAGER_MS, Math.max(eagerUntil, now + EAGER_MS) + EAGER_MS_PER_OP * ops)
}

/**
 * Makes Dawn's binding poll the driver of a device once a millisecond. By itself, while an answer is pending, it polls without pause through
 * the global setImmediate, which keeps a core busy. Where the device is the CPU, that core should compute.
 */
export function slowPolling(device: GPUDevice): void {
  slowDown(device, 'popErrorScope')
  slowDown(device, 'createComputePipelineAsync')
  const { queue } = device
  slowDown(queue, 'onSubmittedWorkDone')
  const create = device.createBuffer.bind(device)
  Object.defineProperties(device, {
    // The binding makes a new queue object at each access, so the method of a single object cannot be replaced.
    queue: { value: queue },
    createBuffer: {
      configurable: true,
      writable: true,
      value: (descriptor: GPUBufferDescriptor) => {
        const buffer = create(descriptor)
        if (descriptor.usage & GPUBufferUsage.MAP_READ) slowDown(buffer, 'mapAsync')
        return buffer
      },
    },
  })
}

/** Replaces an asynchronous method of the binding by one that polls slowly. */
function slowDown<K extends string>(object: Record<K, (...args: any[]) => Promise<unknown>>, name: K): void {
  const method = object[name].bind(object)
  Object.defineProperty(object, name, {
    configurable: true,
    writable: true,
    value: (...args: unknown[]) => pollingSlowly(() => method(...args)),
  })
}

/** Calls a function of the binding with `queuePoll` as the global setImmediate. Only the binding runs then and sees that. */
function pollingSlowly<T>(call: () => T): T {
  const original = globalThis.setImmediate
  globalThis.setImmediate = queuePoll
  try {
    return call()
  } finally {
    globalThis.setImmediate = original
  }
}

/** Queues the binding's next poll: at once after a submission, else after a millisecond. */
const queuePoll = ((poll: () => void) => {
  const next = (): void => pollingSlowly(poll)
  return performance.now() > eagerUntil ? setTimeout(next, 1) : setImmediate(next)
}) as unknown as typeof globalThis.setImmediate
