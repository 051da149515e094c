import { openDevice } from '#platform'
import { refusal } from '../base/checks.ts'
import { ContextVariable } from '../base/contextVariable.ts'
import { UserError } from '../base/errors.ts'
import { checkRequest, type DeviceRequest } from '../platform/types.ts'
import { Device } from './device.ts'

const byDefault = new ContextVariable<Device | undefined>(undefined)

/** @throws ArgumentError unless `device` is a Device of this package */
export function checkDevice(op: string, device: unknown): asserts device is Device {
  if (!(device instanceof Device)) throw refusal(op, device, 'a device, as `await requestDevice()` gives it', 'device')
}

/**
 * Opens a device and makes it the default.
 * @throws ArgumentError for an unknown option or a value of a wrong kind; UserError when there is no adapter, or none of the name asked for
 *   or with the features: its one line says what there is, or what to install
 */
export async function requestDevice(request: DeviceRequest = {}): Promise<Device> {
  checkRequest('requestDevice', request)
  const device = new Device(await openDevice(request), request)
  byDefault.current = device
  return device
}

/** Returns the device that tensors are made on by default. @throws UserError when there is none yet, or it was destroyed */
export function defaultDevice(): Device {
  const device = byDefault.current
  if (!device || device.destroyed) throw new UserError('no device yet: call `await requestDevice()` first')
  return device
}

/** Makes `device` the default. @throws ArgumentError unless it is a Device of this package */
export function setDefaultDevice(device: Device): void {
  checkDevice('setDefaultDevice', device)
  byDefault.current = device
}

/** Runs `fn`, which must not be asynchronous, with `device` as the default. */
export function withDevice<T>(device: Device, fn: () => T): T {
  return byDefault.run(device, fn)
}
