// Loaded before the command line (`node --import`): every device is destroyed at its LOSE_AFTER-th submit, as a driver loses a
// device.
import { globals } from 'webgpu'

const after = Number(process.env.LOSE_AFTER)
const { GPUAdapter, GPUQueue } = globals
const { requestDevice } = GPUAdapter.prototype
const { submit } = GPUQueue.prototype
let device
let submits = 0

GPUAdapter.prototype.requestDevice = async function (...args) {
  device = await requestDevice.apply(this, args)
  submits = 0
  return device
}
GPUQueue.prototype.submit = function (...args) {
  if (++submits === after) device.destroy()
  return submit.apply(this, args)
}
