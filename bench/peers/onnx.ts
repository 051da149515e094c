/** A node of an ONNX graph. */
export interface OnnxNode {
  op: string
  inputs: readonly string[]
  outputs: readonly string[]
  attributes?: Record<string, number | { float: number } | readonly number[]>
}

/** A float32 input or output. */
export interface OnnxValue {
  name: string
  shape: readonly number[]
}

/** Wire types of protocol buffers. */
const VARINT = 0
const BYTES = 2
const FIXED32 = 5

/** ONNX's types of attributes. */
const ATTRIBUTE = { float: 1, int: 2, ints: 7 }
/** ONNX's element type of float32 tensors. */
const FLOAT32 = 1

/**
 * Returns the bytes of an ONNX file: one graph over float32 values, with the operators of opset 20. Field numbers are those of
 * onnx.proto.
 */
export function onnxModel(nodes: readonly OnnxNode[], inputs: readonly OnnxValue[], outputs: readonly OnnxValue[]): Uint8Array {
  const graph = [
    ...nodes.flatMap((node) => message(1, nodeFields(node))),
    ...text(2, 'graph'),
    ...inputs.flatMap((value) => message(11, valueFields(value))),
    ...outputs.flatMap((value) => message(12, valueFields(value))),
  ]
  const opset = message(8, [...text(1, ''), ...whole(2, 20)])
  return Uint8Array.from([...whole(1, 9), ...message(7, graph), ...opset])
}

function nodeFields({ op, inputs, outputs, attributes = {} }: OnnxNode): number[] {
  return [
    ...inputs.flatMap((name) => text(1, name)),
    ...outputs.flatMap((name) => text(2, name)),
    ...text(4, op),
    ...Object.entries(attributes).flatMap(([name, value]) => message(5, attributeFields(name, value))),
  ]
}

function attributeFields(name: string, value: number | { float: number } | readonly number[]): number[] {
  if (typeof value === 'number') return [...text(1, name), ...whole(3, value), ...whole(20, ATTRIBUTE.int)]
  if ('float' in value) return [...text(1, name), ...float(2, value.float), ...whole(20, ATTRIBUTE.float)]
  return [...text(1, name), ...value.flatMap((int) => whole(8, int)), ...whole(20, ATTRIBUTE.ints)]
}

function valueFields({ name, shape }: OnnxValue): number[] {
  const dims = shape.flatMap((size) => message(1, whole(1, size)))
  const tensor = [...whole(1, FLOAT32), ...message(2, dims)]
  return [...text(1, name), ...message(2, message(1, tensor))]
}

function whole(field: number, value: number): number[] {
  return [...varint((field << 3) | VARINT), ...varint(value)]
}

function float(field: number, value: number): number[] {
  return [...varint((field << 3) | FIXED32), ...new Uint8Array(Float32Array.of(value).buffer)]
}

function message(field: number, bytes: readonly number[]): number[] {
  return [...varint((field << 3) | BYTES), ...varint(bytes.length), ...bytes]
}

function text(field: number, value: string): number[] {
  return message(field, [...new TextEncoder().encode(value)])
}

/** Encodes a non-negative integer in seven bits a byte, the lowest bits first. */
function varint(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80)
  return [...bytes, rest]
}
