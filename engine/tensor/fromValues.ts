import { checkBoolean } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { checkDevice, defaultDevice } from '../device/defaultDevice.ts'
import type { Device } from '../device/device.ts'
import { checkDtype, type Dtype, isFloat } from '../layout/dtype.ts'
import { checkShape, type Shape, sizeOf } from '../layout/shape.ts'
import { type Nested, shapeOfValues, valuesOf } from '../layout/values.ts'
import { empty, type Tensor } from './tensor.ts'

export interface TensorOptions {
  shape?: Shape
  dtype?: Dtype
  requiresGrad?: boolean
  device?: Device
}

const OPTIONS: OptionNames<TensorOptions> = { shape: true, dtype: true, requiresGrad: true, device: true }

/**
 * Makes a tensor from numbers. float32 and float16 round to the nearest number, beyond their range to infinity; int32 takes only whole
 * numbers of 32 bits.
 * @param data a number, nested lists, a flat list or a typed array
 * @param options.shape by default the nesting of `data`
 * @param options.dtype by default 'int32' for an Int32Array, else 'float32'
 * @throws ArgumentError for an unknown option, an element that is no number (a hole, a text, true, a bigint), and a number that int32 does
 *   not hold; ShapeError when the shape and the number of values disagree, or nested lists are ragged
 */
export function tensor(data: Nested, options?: TensorOptions): Tensor {
  checkOptions('tensor', options, OPTIONS)
  const {
    device = defaultDevice(),
    requiresGrad = false,
    dtype = data instanceof Int32Array ? 'int32' : 'float32',
  } = options ?? {}
  checkDevice('tensor', device)
  checkDtype('tensor', dtype, device)
  checkBoolean('tensor', requiresGrad, 'requiresGrad')
  if (requiresGrad && !isFloat(dtype)) throw new ShapeError('tensor: only tensors of float32 and float16 have gradients')
  const shape = options?.shape ?? shapeOfValues('tensor', data)
  checkShape('tensor', shape)
  const values = valuesOf('tensor', data, dtype, shape, sizeOf(shape))
  const t = empty(shape, dtype, device)
  t.write(values)
  t.requiresGrad = requiresGrad
  return t
}
