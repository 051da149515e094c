import { type Device, describe } from '../../engine/index.ts'

/** Says on stderr, in one line, which device was taken; after inputs were checked, so that an error stands alone. */
export function announce(device: Device): void {
  process.stderr.write(`${describe(device.summary)}\n`)
}
