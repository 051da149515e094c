import { files } from '#platform'
import { decodeSafetensors } from '../../train/checkpoint/safetensors.ts'

/** A stored value: results as float64, inputs as float32, labels and indices as int32. */
export interface GoldenTensor {
  shape: number[]
  data: Float64Array | Float32Array | Int32Array
}

/** Golden values of PyTorch by name, from test/golden/<name>.safetensors; test/golden/generate.py says what they are. */
export async function loadGolden(name: string): Promise<Map<string, GoldenTensor>> {
  // Relative to the project's folder in Node, to the page in a browser.
  const path = `test/golden/${name}.safetensors`
  const golden = new Map<string, GoldenTensor>()
  for (const [key, { dtype, shape, data }] of decodeSafetensors(await files.read(path), path).tensors) {
    if (data instanceof Float64Array || data instanceof Float32Array || data instanceof Int32Array)
      golden.set(key, { shape, data })
    else throw new Error(`${path}: ${key} is ${dtype}, golden values are F64, F32 or I32`)
  }
  return golden
}
