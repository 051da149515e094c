import type { Tensor } from '../../engine/index.ts'
import { tensor } from '../../engine/index.ts'
import { checkOp, leaf, stridedLeaf } from './checkOp.ts'
import { loadGolden } from './golden.ts'

const golden = await loadGolden('networks')

/** The values of one tensor of a case. */
export function goldenValues(name: string): Float32Array {
  return Float32Array.from(golden.get(name)!.data)
}

/** Compares an op with PyTorch's float64 values of a case of networks.safetensors, on contiguous inputs and on views. */
export async function checkGolden(name: string, op: (...inputs: Tensor[]) => Tensor, inputs: readonly string[]): Promise<void> {
  const get = (key: string) => {
    const found = golden.get(`${name}.${key}`)
    if (!found) throw new Error(`networks.safetensors has no ${name}.${key}`)
    return found
  }
  const output = get('output')
  const expected = {
    shape: output.shape,
    output: output.data,
    cotangent: get('cotangent').data,
    gradients: inputs.map((key) => golden.get(`${name}.grad.${key}`)?.data),
  }
  for (const make of [leaf, stridedLeaf]) {
    const leaves = inputs.map((key) => {
      const { shape, data } = get(key)
      return data instanceof Int32Array ? tensor(data, { shape }) : make(data, shape)
    })
    await checkOp(`${name}, ${make.name}`, op, leaves, expected)
  }
}
