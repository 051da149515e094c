import { backward } from '../../engine/autograd/backward.ts'
import { type Shape, sizeOf } from '../../engine/layout/shape.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import { type Tensor, view } from '../../engine/tensor/tensor.ts'
import { assertClose } from './errors.ts'
import { normal, testRandom } from './kernel.ts'

/** The expected output and gradients of an op. */
export interface ExpectedOp {
  /** Shape of the output. */
  shape: Shape
  output: ArrayLike<number>
  /** The gradient of the output, from which backward begins. */
  cotangent: ArrayLike<number>
  /** The gradient of each input; undefined for an input that gets none. */
  gradients: readonly (ArrayLike<number> | undefined)[]
}

/** Runs an op forward and backward, and compares its output (to 1e-5) and the gradients of its inputs (to 1e-4). */
export async function checkOp(
  what: string,
  op: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  expected: ExpectedOp,
): Promise<void> {
  const output = op(...inputs)
  if (`${output.shape}` !== `${expected.shape}`)
    throw new Error(`${what}: shape [${output.shape}], expected [${expected.shape}]`)
  assertClose(await output.data(), expected.output, 1e-5, `${what}: output`)
  const cotangent = tensor(Float32Array.from(expected.cotangent), { shape: expected.shape })
  backward(output, cotangent)
  for (const [i, gradient] of expected.gradients.entries()) {
    const { grad } = inputs[i]!
    if (!gradient) {
      if (grad) throw new Error(`${what}: input ${i} got a gradient`)
      continue
    }
    if (`${grad?.shape}` !== `${inputs[i]!.shape}`) throw new Error(`${what}: gradient ${i} has shape [${grad?.shape}]`)
    assertClose(await grad!.data(), gradient, 1e-4, `${what}: gradient ${i}`)
    grad!.dispose()
    inputs[i]!.grad = undefined
  }
  output.dispose()
  cotangent.dispose()
}

/** Normally distributed numbers as float32; a seed always gives the same. */
export function normals(size: number, seed: number): Float32Array {
  const random = testRandom(seed)
  return Float32Array.from({ length: size }, () => normal(random))
}

/** A contiguous leaf with these values, row-major. */
export function leaf(data: ArrayLike<number>, shape: Shape): Tensor {
  return tensor(Float32Array.from(data), { shape, requiresGrad: true })
}

/** A leaf with these values, row-major, whose dims lie in memory in the opposite order and at an odd offset. */
export function stridedLeaf(data: ArrayLike<number>, shape: Shape): Tensor {
  const offset = 3
  const strides = shape.map((_, i) => sizeOf(shape.slice(0, i)))
  const memory = new Float32Array(offset + sizeOf(shape))
  for (let i = 0; i < data.length; i++) {
    let rest = i
    let at = offset
    for (let d = shape.length - 1; d >= 0; d--) {
      at += (rest % shape[d]!) * strides[d]!
      rest = Math.floor(rest / shape[d]!)
    }
    memory[at] = data[i]!
  }
  const t = view(tensor(memory), { shape, strides, offset })
  t.requiresGrad = true
  return t
}

/** Fails unless `fn` throws a ShapeError whose message is one line that contains `part`. */
export function assertShapeError(fn: () => unknown, part: string): void {
  try {
    fn()
  } catch (error) {
    const { name, message } = error as Error
    if (name === 'ShapeError' && message.includes(part) && !message.includes('\n')) return
    throw new Error(`threw ${name}: ${message}; expected one line of a ShapeError with "${part}"`)
  }
  throw new Error(`did not throw; expected a ShapeError with "${part}"`)
}
