import { type Device, type DeviceRequest, requestDevice } from '../engine/index.ts'
import { swiftShaderAdapter, systemAdapter, systemNames } from '../engine/platform/dawn.ts'
import { normalize } from '../engine/platform/select.ts'

/**
 * Opens a device in Node, makes it the default one, and shows a WebGPU of the same adapter as `navigator.gpu`, where other
 * libraries look for it: theirs then run on the same Dawn and driver.
 */
export async function openShared(request: DeviceRequest): Promise<Device> {
  const device = await requestDevice(request)
  const name = (await systemNames()).find((one) => normalize(one) === device.summary.name)
  const found = name ? await systemAdapter({}, name) : await swiftShaderAdapter({})
  if (!found) throw new Error(`${device.summary.name} cannot be opened a second time`)
  const navigator = { gpu: found.gpu, userAgent: 'Node', hardwareConcurrency: 1 }
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true })
  acceptSharedMemory()
  return device
}

/** Browsers write from shared memory, as libraries compiled to WebAssembly do; Dawn's Node binding rejects it. */
function acceptSharedMemory(): void {
  const { prototype } = GPUQueue
  const { writeBuffer } = prototype
  prototype.writeBuffer = function (this: GPUQueue, buffer, offset, data: any, ...range) {
    const shared = data instanceof Uint8Array && data.buffer instanceof SharedArrayBuffer
    return writeBuffer.call(this, buffer, offset, shared ? data.slice() : data, ...range)
  }
}
