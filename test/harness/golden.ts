import { files } from '#platform'
import { decodeSafetensors } from '../../train/checkpoint/safetensors.ts'

/** A stored tensor: float64 for results, float32 for inputs, int32 for labels and indices. */
export interface GoldenTensor {
  shape: number[]
  data: Float64Array | Float32Array | Int32Array
}

/** Loads PyTorch's golden values by name from test/golden/<name>.safetensors, which test/golden/generate.py describes. */
export async function loadGolden(name: string): Promise<Map<string, GoldenTensor>> {
  // The path is relative to the project's root in Node, and to the page in a browser.
  const path = `test/golden/${name}.safetensors`
  const golden = new Map<string, GoldenTensor>()
  for (const [key, { dtype, shape, data }] of decodeSafetensors(await files.read(path), path).tensors) {
    if (data instanceof Float64Array || data instanceof Float32Array || data instanceof Int32Array)
      golden.set(key, { shape, data })
    else throw new Error(`${path}: ${key} is ${dtype}, golden values are F64, F32 or I32`)
  }
  return golden
}
