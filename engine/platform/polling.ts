/** How long Dawn may ask without pause after work was submitted. */
const EAGER_MS = 1

let eagerUntil = 0
let slowed = false

/** Work was submitted: its answer may come soon. */
export function expectAnswer(): void {
  if (slowed) eagerUntil = performance.now() + EAGER_MS
}

/**
 * Makes Dawn's binding ask the driver once a millisecond instead of without pause. While an answer is pending it queues itself
 * again and again with setImmediate, which keeps a core busy: one of those that compute, where the device is the CPU.
 */
export function slowPolling(): void {
  if (slowed) return
  slowed = true
  const { setImmediate } = globalThis
  const slow = (callback: (...args: unknown[]) => void, ...args: unknown[]) =>
    isNative(callback) && performance.now() > eagerUntil ? setTimeout(callback, 1, ...args) : setImmediate(callback, ...args)
  globalThis.setImmediate = Object.defineProperties(slow, Object.getOwnPropertyDescriptors(setImmediate)) as typeof setImmediate
}

/** Whether it is a function of an addon. */
function isNative(callback: unknown): boolean {
  return typeof callback === 'function' && callback.name === '' && /\{ \[native code\] \}$/.test(String(callback))
}
