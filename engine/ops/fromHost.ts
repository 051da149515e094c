import { checkFunction, refusal } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { checkDevice, defaultDevice } from '../device/defaultDevice.ts'
import { checkShape, format, sizeOf } from '../layout/shape.ts'
import { empty, type Tensor, type TensorData } from '../tensor/tensor.ts'

/**
 * Makes a tensor of values that the host computes. In a capture, the host computes them again before every replay; learning rates and step
 * counts reach a captured step so.
 * @param compute gives the values: a Float32Array or an Int32Array, each time of the same length
 * @param shape by default one dim
 * @throws ArgumentError when `compute` is no function, or gives another value; ShapeError when the values do not fill the shape
 */
export function fromHost(compute: () => TensorData, shape?: readonly number[], device = defaultDevice()): Tensor {
  checkFunction('fromHost', compute)
  checkDevice('fromHost', device)
  const data = compute()
  if (!(data instanceof Float32Array || data instanceof Int32Array)) {
    throw refusal('fromHost', data, 'a Float32Array or Int32Array', 'what compute() gives')
  }
  const dims = shape ?? [data.length]
  checkShape('fromHost', dims)
  if (sizeOf(dims) !== data.length) {
    throw new ShapeError(`fromHost: ${data.length} values do not fill shape ${format(dims)}`)
  }
  const t = empty(dims, data instanceof Float32Array ? 'float32' : 'int32', device)
  t.write(data, compute)
  return t
}
