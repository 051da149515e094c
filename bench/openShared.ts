import { type Device, type DeviceRequest, requestDevice } from '../engine/index.ts'
import { swiftShaderAdapter, systemAdapter, systemNames } from '../engine/platform/dawn.ts'
import { normalize } from '../engine/platform/select.ts'

/**
 * Opens a device in Node, makes it the default one, and sets `navigator.gpu` to a WebGPU of the same adapter. Other libraries
 * look there, and so their devices run on the same Dawn and driver.
 */
export async function openShared(request: DeviceRequest): Promise<Device> {
  const device = await requestDevice(request)
  const name = (await systemNames()).find((systemName) => normalize(systemName) === device.summary.name)
  const found = name ? await systemAdapter({}, name) : await swiftShaderAdapter({})
  if (!found) throw new Error(`${device.summary.name} cannot be opened a second time`)
  const navigator = { gpu: found.gpu, userAgent: 'Node', hardwareConcurrency: 1 }
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true })
  acceptSharedMemory()
  return device
}

/**
 * Lets `writeBuffer` take shared memory, which WebAssembly libraries pass: browsers accept it, but Dawn's Node binding rejects
 * it.
 */
function acceptSharedMemory(): void {
  const { prototype } = GPUQueue
  const { writeBuffer } = prototype
  prototype.writeBuffer = function (this: GPUQueue, buffer, offset, data: any, ...range) {
    const shared = data instanceof Uint8Array && data.buffer instanceof SharedArrayBuffer
    return writeBuffer.call(this, buffer, offset, shared ? data.slice() : data, ...range)
  }
}
