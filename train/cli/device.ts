import { type Device, describe, requestDevice } from '../../engine/index.ts'

/** Opens the device that `--adapter` means and says in one line, on stderr, which it is. */
export async function openDevice(adapter: string | undefined): Promise<Device> {
  const device = await requestDevice({ adapter })
  process.stderr.write(`${describe(device.summary)}\n`)
  return device
}
