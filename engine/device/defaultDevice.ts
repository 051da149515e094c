import { openDevice } from '#platform'
import { refusal } from '../base/checks.ts'
import { UserError } from '../base/errors.ts'
import { checkRequest, type DeviceRequest } from '../platform/types.ts'
import { Device } from './device.ts'

let current: Device | undefined

/** @throws ArgumentError for a value that is no device of this package */
export function checkDevice(op: string, device: unknown): asserts device is Device {
  if (!(device instanceof Device)) throw refusal(op, device, 'a device, as `await requestDevice()` gives it', 'device')
}

/**
 * Opens a device and makes it the default one.
 * @throws ArgumentError for an unknown option or a value of a wrong kind; UserError in one line that says what to install, when there is
 *   no adapter, or none of that name
 */
export async function requestDevice(request: DeviceRequest = {}): Promise<Device> {
  checkRequest('requestDevice', request)
  const device = new Device(await openDevice(request), request)
  current = device
  return device
}

/** The device that tensors are made on when none is named. @throws UserError before `requestDevice()` and after the device was destroyed */
export function defaultDevice(): Device {
  if (!current || current.destroyed) throw new UserError('no device yet: call `await requestDevice()` first')
  return current
}

/** Makes `device` the default. @throws ArgumentError for a value that is no device */
export function setDefaultDevice(device: Device): void {
  checkDevice('setDefaultDevice', device)
  current = device
}

/** Runs `fn`, which does not wait for anything, with `device` as the default one. */
export function withDevice<T>(device: Device, fn: () => T): T {
  const outer = current
  current = device
  try {
    return fn()
  } finally {
    current = outer
  }
}
