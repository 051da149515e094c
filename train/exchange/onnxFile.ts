// Bytes of ONNX files. Field numbers are those of onnx.proto, wire types those of protocol buffers.

/** A whole number, a float, a text or whole numbers. */
export type OnnxAttribute = number | { float: number } | { text: string } | readonly number[]

/** A node of an ONNX graph. */
export interface OnnxNode {
  op: string
  inputs: readonly string[]
  outputs: readonly string[]
  attributes?: Record<string, OnnxAttribute>
}

/** A float32 input or output. A dim may be a name, which stands for any size. */
export interface OnnxValue {
  name: string
  shape: readonly (number | string)[]
}

/** A constant of the graph, such as a weight: float32, or int64 from a BigInt64Array. */
export interface OnnxConstant {
  name: string
  shape: readonly number[]
  data: Float32Array | BigInt64Array
}

export interface OnnxGraph {
  nodes: readonly OnnxNode[]
  inputs: readonly OnnxValue[]
  outputs: readonly OnnxValue[]
  constants?: readonly OnnxConstant[]
}

export interface OnnxOptions {
  /** The version of the operators. */
  opset: number
  /** Texts by key that the file carries along. */
  metadata?: Readonly<Record<string, string>>
}

/** Bytes in pieces, so that weights are not copied. */
type Pieces = Uint8Array<ArrayBuffer>[]

const VARINT = 0
const BYTES = 2
const FIXED32 = 5

/** ONNX's types of attributes. */
const ATTRIBUTE = { float: 1, int: 2, text: 3, ints: 7 }
/** ONNX's element types. */
const FLOAT32 = 1
const INT64 = 7
/** The version of the file format, which ONNX 1.10 and later read. */
const IR_VERSION = 8

/** Returns the pieces of an ONNX file of one graph. */
export function onnxPieces(graph: OnnxGraph, { opset, metadata = {} }: OnnxOptions): Pieces {
  const parts = [
    ...graph.nodes.flatMap((node) => message(1, nodeFields(node))),
    ...text(2, 'graph'),
    ...(graph.constants ?? []).flatMap((constant) => message(5, constantFields(constant))),
    ...graph.inputs.flatMap((value) => message(11, valueFields(value))),
    ...graph.outputs.flatMap((value) => message(12, valueFields(value))),
  ]
  return [
    ...whole(1, IR_VERSION),
    ...text(2, 'paraformer'),
    ...message(7, parts),
    ...message(8, [...text(1, ''), ...whole(2, opset)]),
    ...Object.entries(metadata).flatMap(([key, value]) => message(14, [...text(1, key), ...text(2, value)])),
  ]
}

function nodeFields({ op, inputs, outputs, attributes = {} }: OnnxNode): Pieces {
  return [
    ...inputs.flatMap((name) => text(1, name)),
    ...outputs.flatMap((name) => text(2, name)),
    ...text(3, outputs[0]!),
    ...text(4, op),
    ...Object.entries(attributes).flatMap(([name, value]) => message(5, attributeFields(name, value))),
  ]
}

function attributeFields(name: string, value: OnnxAttribute): Pieces {
  if (typeof value === 'number') return [...text(1, name), ...whole(3, value), ...whole(20, ATTRIBUTE.int)]
  if ('text' in value) return [...text(1, name), ...text(4, value.text), ...whole(20, ATTRIBUTE.text)]
  if ('float' in value) return [...text(1, name), ...float(2, value.float), ...whole(20, ATTRIBUTE.float)]
  return [...text(1, name), ...value.flatMap((int) => whole(8, int)), ...whole(20, ATTRIBUTE.ints)]
}

function constantFields({ name, shape, data }: OnnxConstant): Pieces {
  const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength)
  return [
    ...shape.flatMap((size) => whole(1, size)),
    ...whole(2, data instanceof Float32Array ? FLOAT32 : INT64),
    ...text(8, name),
    ...message(9, [bytes]),
  ]
}

function valueFields({ name, shape }: OnnxValue): Pieces {
  const dims = shape.flatMap((size) => message(1, typeof size === 'number' ? whole(1, size) : text(2, size)))
  const tensor = [...whole(1, FLOAT32), ...message(2, dims)]
  return [...text(1, name), ...message(2, message(1, tensor))]
}

function whole(field: number, value: number): Pieces {
  return [Uint8Array.from([...varint((field << 3) | VARINT), ...varint(value)])]
}

function float(field: number, value: number): Pieces {
  return [Uint8Array.from([...varint((field << 3) | FIXED32), ...new Uint8Array(Float32Array.of(value).buffer)])]
}

function message(field: number, pieces: Pieces): Pieces {
  const length = pieces.reduce((sum, { length }) => sum + length, 0)
  return [Uint8Array.from([...varint((field << 3) | BYTES), ...varint(length)]), ...pieces]
}

function text(field: number, value: string): Pieces {
  return message(field, [new TextEncoder().encode(value)])
}

/** Encodes a whole number in seven bits a byte, the lowest bits first; a negative one as its two's complement of 64 bits. */
function varint(value: number): number[] {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  return [...bytes, Number(rest)]
}
