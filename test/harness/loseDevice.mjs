// Loaded before the command line (`node --import`): the driver loses its device after so many submits of a process, each time anew.
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
