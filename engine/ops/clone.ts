import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { checkDevice } from '../device/defaultDevice.ts'
import type { Device } from '../device/device.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { tensor } from '../tensor/fromValues.ts'
import { copyOf, type Tensor } from '../tensor/tensor.ts'

const op = defineOp<[Tensor]>({
  name: 'clone',
  forward: (_ctx, [x]) => copyOf(x),
  backward: (_ctx, grad) => [grad],
  differentiableBackward: (_ctx, grad) => [grad],
})

/** Copies x, of any shape and dtype, into memory of its own. Gradients flow through. @returns a row-major tensor */
export function clone(x: Tensor, ...extra: []): Tensor {
  checkTensor('clone', x)
  checkNoMore('clone', extra)
  return op([x], undefined)
}

/**
 * Copies the values of x, as they are after all work recorded so far, to another device, through the host. The result is off the tape.
 * @returns a tensor of the shape and dtype of x; on x's own device a view of x
 * @throws ArgumentError when `device` is no device; UserError for float16 on a device without it; else as `data`
 */
export async function to(x: Tensor, device: Device, ...extra: []): Promise<Tensor> {
  checkTensor('to', x)
  checkDevice('to', device)
  checkNoMore('to', extra)
  if (device === x.device) return x.detach()
  const { shape, dtype } = x
  return tensor(await x.data(), { shape, dtype, device })
}
