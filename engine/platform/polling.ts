import { setImmediate } from 'node:timers'

/** How long Dawn may ask without pause after work was submitted. */
const EAGER_MS = 1

let eagerUntil = 0

/** Work was submitted: its answer may come soon. */
export function expectAnswer(): void {
  eagerUntil = performance.now() + EAGER_MS
}

/**
 * Makes Dawn's binding ask the driver of a device once a millisecond instead of without pause. While an answer is pending it queues itself
 * again and again with the global setImmediate, which keeps a core busy: one of those that compute, where the device is the CPU.
 */
export function slowPolling(device: GPUDevice): void {
  slowDown(device, 'popErrorScope')
  slowDown(device, 'createComputePipelineAsync')
  const { queue } = device
  slowDown(queue, 'onSubmittedWorkDone')
  const create = device.createBuffer.bind(device)
  Object.defineProperties(device, {
    // The binding makes a new object for each look at it.
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

/** Lets a method of the binding, which answers later, queue its questions slowly. */
function slowDown<K extends string>(object: Record<K, (...args: any[]) => Promise<unknown>>, name: K): void {
  const method = object[name].bind(object)
  Object.defineProperty(object, name, {
    configurable: true,
    writable: true,
    value: (...args: unknown[]) => askingSlowly(() => method(...args)),
  })
}

/**
 * Calls a function of the binding with another setImmediate in the place where it looks for that. Only the binding runs meanwhile, so that
 * nothing else ever sees it.
 */
function askingSlowly<T>(call: () => T): T {
  const whose = globalThis.setImmediate
  globalThis.setImmediate = later
  try {
    return call()
  } finally {
    globalThis.setImmediate = whose
  }
}

/** Queues the binding's next question. */
const later = ((ask: () => void) => {
  const next = (): void => askingSlowly(ask)
  return performance.now() > eagerUntil ? setTimeout(next, 1) : setImmediate(next)
}) as unknown as typeof globalThis.setImmediate
