import { broadcastShapes, type Shape, sizeOf } from '../../engine/layout/shape.ts'
import type { OnnxGraph, OnnxNode } from '../../train/exchange/onnxFile.ts'
import { broadcasted, elementAt, generate, type NdArray, ndarray, permuted, reshaped, sliced } from './ndarray.ts'

type Attributes = NonNullable<OnnxNode['attributes']>

/** The operators of the graphs that we write, by ONNX's definitions of opset 17, in float64. */
const OPERATORS: Record<string, (inputs: NdArray[], attributes: Attributes) => NdArray> = {
  Add: (inputs) => elementwise((a, b) => a + b, inputs),
  Sum: (inputs) => elementwise((a, b) => a + b, inputs),
  Mean: (inputs) =>
    mapped(
      elementwise((a, b) => a + b, inputs),
      (value) => value / inputs.length,
    ),
  Mul: (inputs) => elementwise((a, b) => a * b, inputs),
  Identity: ([x]) => x!,
  Erf: ([x]) => mapped(x!, erf),
  Shape: ([x]) => ndarray(x!.shape, [x!.shape.length]),
  Reshape([x, to]) {
    const known = to!.data.reduce((product, size) => (size === -1 ? product : product * size), 1)
    return reshaped(
      x!,
      Array.from(to!.data, (size) => (size === -1 ? x!.data.length / known : size)),
    )
  },
  Transpose: ([x], { perm }) => permuted(x!, perm as number[]),
  Expand: ([x, to]) => broadcasted(x!, broadcastShapes('Expand', x!.shape, [...to!.data])),
  Slice([x, starts, ends, axes]) {
    const along = axes?.data ?? starts!.data.map((_, i) => i)
    const box = x!.shape.map((size, d): [number, number] => {
      const i = along.indexOf(d)
      return i < 0 ? [0, size] : [starts!.data[i]!, Math.min(ends!.data[i]!, size)]
    })
    return sliced(x!, box)
  },
  Concat(inputs, { axis }) {
    const d = axis as number
    const [first] = inputs as [NdArray]
    const total = inputs.reduce((sum, { shape }) => sum + shape[d]!, 0)
    return generate(first.shape.with(d, total), (index) => {
      let i = index[d]!
      const part = inputs.find(({ shape }) => {
        if (i < shape[d]!) return true
        i -= shape[d]!
        return false
      })
      return elementAt(part!, index.with(d, i))
    })
  },
  MatMul([a, b]) {
    const [rows, inner, columns] = [a!.shape.at(-2)!, a!.shape.at(-1)!, b!.shape.at(-1)!]
    const batch = broadcastShapes('MatMul', a!.shape.slice(0, -2), b!.shape.slice(0, -2))
    return generate([...batch, rows, columns], (index) => {
      const [outer, i, j] = [index.slice(0, -2), index.at(-2)!, index.at(-1)!]
      let sum = 0
      for (let k = 0; k < inner; k++) sum += elementAt(a!, [...outer, i, k]) * elementAt(b!, [...outer, k, j])
      return sum
    })
  },
  ReduceMean([x], { axes, keepdims }) {
    const [d] = axes as [number]
    if (keepdims !== 0) throw new Error('keepdims')
    return generate(x!.shape.toSpliced(d, 1), (index) => {
      let sum = 0
      for (let i = 0; i < x!.shape[d]!; i++) sum += elementAt(x!, index.toSpliced(d, 0, i))
      return sum / x!.shape[d]!
    })
  },
  Softmax: ([x]) =>
    rows(x!, (row) => {
      const most = Math.max(...row)
      const exps = row.map((value) => Math.exp(value - most))
      const total = exps.reduce((sum, value) => sum + value, 0)
      return exps.map((value) => value / total)
    }),
  LayerNormalization([x, scale, bias], { epsilon }) {
    const { float: eps } = epsilon as { float: number }
    return rows(x!, (row) => {
      const mean = row.reduce((sum, value) => sum + value, 0) / row.length
      const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length
      return row.map((value, i) => ((value - mean) / Math.sqrt(variance + eps)) * scale!.data[i]! + bias!.data[i]!)
    })
  },
}

/** Runs a graph on its one input. @returns every output by name */
export function runOnnx(graph: OnnxGraph, input: NdArray): Map<string, NdArray> {
  const values = new Map<string, NdArray>([[graph.inputs[0]!.name, input]])
  for (const { name, shape, data } of graph.constants ?? []) values.set(name, ndarray(Array.from(data, Number), shape))
  for (const { op, inputs, outputs, attributes = {} } of graph.nodes) {
    const operator = OPERATORS[op]
    if (!operator) throw new Error(`no operator ${op}`)
    const given = inputs.map((name) => values.get(name)!)
    values.set(outputs[0]!, operator(given, attributes))
  }
  return new Map(graph.outputs.map(({ name }) => [name, values.get(name)!]))
}

function mapped({ shape, data }: NdArray, fn: (value: number) => number): NdArray {
  return { shape, data: data.map(fn) }
}

function elementwise(fn: (a: number, b: number) => number, inputs: readonly NdArray[]): NdArray {
  return inputs.reduce((a, b) => {
    const shape: Shape = broadcastShapes('elementwise', a.shape, b.shape)
    return generate(shape, (index) => fn(elementAt(a, index), elementAt(b, index)))
  })
}

/** Applies a function to every row along the last dim. */
function rows({ shape, data }: NdArray, fn: (row: number[]) => number[]): NdArray {
  const n = shape.at(-1)!
  const out = Array.from({ length: sizeOf(shape) / n }, (_, r) => fn([...data.subarray(r * n, (r + 1) * n)]))
  return ndarray(out.flat(), shape)
}

/** The error function, by its series. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x)
  let [term, sum] = [x, x]
  for (let n = 1; n < 200; n++) {
    term *= (-x * x) / n
    sum += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}
