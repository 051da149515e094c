// A tensor describes itself here, and is checked before it changes.
import { checkBoolean, refusal } from '../base/checks.ts'
import { ArgumentError } from '../base/errors.ts'
import { type Dtype, isFloat } from '../layout/dtype.ts'
import { formatValues } from '../layout/nested.ts'
import { format, type Shape } from '../layout/shape.ts'
import type { TensorData } from '../layout/values.ts'

interface Facts {
  readonly dtype: Dtype
  readonly shape: Shape
  readonly disposed: boolean
  readonly device: { readonly summary: { readonly name: string } }
  readonly node: { readonly name: string } | undefined
}

/** Describes a tensor: dtype, shape, device, and values where they are known. */
export function describeTensor({ dtype, shape, disposed, device }: Facts, values: TensorData | undefined): string {
  const head = `tensor ${dtype} ${format(shape)} on ${device.summary.name}`
  if (disposed) return `${head}, disposed`
  return values ? `${head}\n${formatValues(values, shape)}` : `${head}; await data() to see the values`
}

/** @throws ArgumentError unless a tensor may require gradients, or not: int32 cannot, and the result of an op does as its inputs do */
export function checkRequiresGrad({ dtype, node }: Facts, requires: unknown): void {
  checkBoolean('requiresGrad', requires, 'requiresGrad')
  if (requires && !isFloat(dtype))
    throw refusal('requiresGrad', requires, 'false for int32; only float32 and float16 have gradients')
  if (!requires && node)
    throw new ArgumentError(`requiresGrad: a result of ${node.name} has gradients as its inputs do; use detach()`)
}
