import { readFileSync } from 'node:fs'
import { UserError } from '../../engine/base/errors.ts'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { toFloat32 } from '../../train/checkpoint/files.ts'
import { decodeSafetensors, encodeSafetensors, type SafetensorsEntry } from '../../train/checkpoint/safetensors.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'
import { throws } from './userError.ts'

const { test, run } = suite('safetensors')

/** A file with a header, as text or as JSON, and data. */
function file(header: unknown, data = new Uint8Array(0)): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header))
  const out = new Uint8Array(8 + json.length + data.length)
  new DataView(out.buffer).setBigUint64(0, BigInt(json.length), true)
  out.set(json, 8)
  out.set(data, 8 + json.length)
  return out
}

const entries: [string, SafetensorsEntry][] = [
  ['weight', { dtype: 'F32', shape: [2, 3], data: Float32Array.of(1, -2.5, 0, 1e-38, 3e38, -0) }],
  ['0', { dtype: 'U8', shape: [3], data: Uint8Array.of(0, 128, 255) }],
  ['scalar', { dtype: 'F64', shape: [], data: Float64Array.of(Math.PI) }],
  ['empty', { dtype: 'I32', shape: [0, 7], data: new Int32Array(0) }],
  ['big', { dtype: 'I64', shape: [2], data: BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n) }],
  ['half', { dtype: 'F16', shape: [5], data: Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00) }],
  ['brain', { dtype: 'BF16', shape: [2], data: Uint16Array.of(0x3f80, 0xc2f7) }],
  ['mask', { dtype: 'BOOL', shape: [2], data: Uint8Array.of(0, 1) }],
  ['__proto__', { dtype: 'I16', shape: [1], data: Int16Array.of(-3) }],
  ['ünïcode \u{1f600} "quoted"\n', { dtype: 'I8', shape: [1], data: Int8Array.of(-128) }],
  ['u16', { dtype: 'U16', shape: [1], data: Uint16Array.of(65535) }],
  ['u32', { dtype: 'U32', shape: [1], data: Uint32Array.of(4294967295) }],
  ['u64', { dtype: 'U64', shape: [1], data: BigUint64Array.of(2n ** 64n - 1n) }],
]
const metadata = { config: '{"a":1}', note: 'zwei\nZeilen' }

test('what is encoded decodes to the same, of every dtype', () => {
  const decoded = decodeSafetensors(encodeSafetensors(new Map(entries), metadata), 'x')
  equal(decoded.metadata, metadata, 'metadata')
  equal([...decoded.tensors.keys()].sort(), entries.map(([name]) => name).sort(), 'names')
  for (const [name, { dtype, shape, data }] of entries) {
    const found = decoded.tensors.get(name)!
    equal([found.dtype, found.shape], [dtype, shape], name)
    equal(found.data.constructor, data.constructor, `${name}, array type`)
    equal(found.data, data, name)
  }
})

test('the layout keeps the rules: header padded to 8, tensors aligned, without gap, the widest first', () => {
  const bytes = encodeSafetensors(new Map(entries))
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true))
  equal(length % 8, 0, 'header length')
  const header = new TextDecoder().decode(bytes.subarray(8, 8 + length))
  equal(header[0], '{', 'first character')
  const tensors = Object.entries(JSON.parse(header) as Record<string, { dtype: string; data_offsets: [number, number] }>)
  tensors.sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1])
  let end = 0
  for (const [name, { data_offsets: offsets }] of tensors) {
    equal(offsets[0], end, `begin of ${name}`)
    equal(offsets[0] % new Map(entries).get(name)!.data.BYTES_PER_ELEMENT, 0, `alignment of ${name}`)
    end = offsets[1]
  }
  equal(8 + length + end, bytes.length, 'bytes')
})

test('bytes depend on the content, not on the order of insertion', () => {
  equal(encodeSafetensors(new Map([...entries].reverse())), encodeSafetensors(new Map(entries)), 'reversed')
})

test('a file of the reference implementation is read, and written again to the same bytes', () => {
  const bytes = readFileSync('test/golden/images.safetensors')
  const { tensors, metadata: strings } = decodeSafetensors(bytes, 'images.safetensors')
  equal(strings, { madeBy: 'Pillow 12.3.0' }, 'metadata')
  equal(Buffer.compare(encodeSafetensors(tensors, strings), bytes), 0, 'difference')
  // The file has every dtype, and comes from safetensors 0.8.0 for Python, see test/golden/images.py.
  const dtypes = readFileSync('test/golden/dtypes.safetensors')
  const decoded = decodeSafetensors(dtypes, 'dtypes.safetensors')
  equal(Buffer.compare(encodeSafetensors(decoded.tensors), dtypes), 0, 'difference of dtypes')
  for (const [name, { data }] of decoded.tensors) {
    if (!name.endsWith('.float32'))
      equal(toFloat32(decoded.tensors.get(name)!), decoded.tensors.get(`${name}.float32`)!.data, name)
    else if (!(data instanceof Float32Array)) throw new Error(`${name} is no float32`)
  }
})

test('conversion to float32 covers signs, subnormals, infinities and NaN', () => {
  const half = (word: number) => toFloat32({ dtype: 'F16', data: Uint16Array.of(word) })[0]!
  const brain = (word: number) => toFloat32({ dtype: 'BF16', data: Uint16Array.of(word) })[0]!
  const cases: [number, number][] = [
    [half(0x0000), 0],
    [half(0x8000), -0],
    [half(0x0001), 2 ** -24],
    [half(0x83ff), -1023 * 2 ** -24],
    [half(0x0400), 2 ** -14],
    [half(0x3555), 0.333251953125],
    [half(0x7bff), 65504],
    [half(0xfc00), -Infinity],
    [half(0x7e00), Number.NaN],
    [brain(0x3f80), 1],
    [brain(0x8000), -0],
    [brain(0xff80), -Infinity],
    [brain(0x7fc0), Number.NaN],
    [brain(0x0001), 2 ** -133],
    [toFloat32({ dtype: 'I64', data: BigInt64Array.of(-5n) })[0]!, -5],
    [toFloat32({ dtype: 'F64', data: Float64Array.of(0.1) })[0]!, Math.fround(0.1)],
    [toFloat32({ dtype: 'BOOL', data: Uint8Array.of(1) })[0]!, 1],
  ]
  for (const [i, [actual, expected]] of cases.entries()) equal(Object.is(actual, expected), true, `case ${i}: ${actual}`)
})

test('every tensor has its own memory', () => {
  const bytes = encodeSafetensors(new Map(entries))
  const { tensors } = decodeSafetensors(bytes, 'x')
  bytes.fill(255)
  equal(tensors.get('weight')!.data, entries[0]![1].data, 'after the file changed')
})

test('entries that contradict themselves are not encoded', () => {
  const encode = (entry: unknown, name = 'a') => encodeSafetensors(new Map([[name, entry as SafetensorsEntry]]))
  throws(
    () => encode({ dtype: 'F32', shape: [2], data: new Float32Array(3) }),
    /tensor "a": Float32Array\(3\) is not F32/,
    UserError,
  )
  throws(() => encode({ dtype: 'F32', shape: [2], data: new Int32Array(2) }), /Int32Array\(2\) is not F32 \[2\]/, UserError)
  throws(
    () => encode({ dtype: 'F32', shape: [-1, -2], data: new Float32Array(2) }),
    /has shape \[-1, -2\]; give a list/,
    UserError,
  )
  throws(() => encode({ dtype: 'F32', shape: [], data: new Float32Array(1) }, '__metadata__'), /__metadata__/, UserError)
})

const F32 = (shape: unknown, begin: unknown, end: unknown, dtype: unknown = 'F32') => ({
  dtype,
  shape,
  data_offsets: [begin, end],
})
const malformed: [string, Uint8Array, RegExp][] = [
  ['empty', new Uint8Array(0), /truncated, 0 bytes/],
  ['seven bytes', new Uint8Array(7), /truncated, 7 bytes/],
  ['a huge header length', new Uint8Array(16).fill(255), /header length 18446744073709551615 is more than 100000000/],
  ['a header beyond the file', file('{}').subarray(0, 9), /truncated, the header needs 10 bytes/],
  ['no JSON', file('{"a":'), /bad JSON header/],
  ['no UTF-8', file('').map((byte) => byte), /bad JSON header/],
  ['a list', file('[]'), /no object/],
  ['metadata that is a list', file({ __metadata__: [] }), /__metadata__ is not a map/],
  ['metadata with a number', file({ __metadata__: { a: 1 } }), /__metadata__ is not a map/],
  ['a tensor that is a number', file({ a: 3 }), /tensor "a" is no object/],
  ['white space before the header', file(' {}'), /does not begin with \{/],
  ['a tensor twice', file('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":{}}'), /has "a" twice/],
  ['a field twice', file('{"a":{"dtype":"U8","shape":[1],"shape":[0],"data_offsets":[0,0]}}'), /has "shape" twice/],
  ['metadata twice', file('{"__metadata__":{"b":"x"},"__metadata__":{}}'), /has "__metadata__" twice/],
  ['a key of the metadata twice', file('{"__metadata__":{"b\\\\":"\\"a:", "b\\\\" : ""}}'), /has "b.*" twice/],
  ['a dtype that is a number', file({ a: F32([1], 0, 4, 7) }), /dtype a number/],
  ['an unknown dtype beyond the data', file({ a: F32([1], 0, 4, 'F8_E4M3') }), /truncated, tensor "a" ends at byte 4 of 0/],
  ['an unknown dtype over another tensor', file({ a: F32([1], 0, 1, 'X'), b: F32([1], 0, 4) }, new Uint8Array(4)), /overlaps/],
  ['a negative dim', file({ a: F32([-1], 0, 4) }), /bad shape/],
  ['a fractional dim', file({ a: F32([0.5], 0, 2) }), /bad shape/],
  ['a shape that is no list', file({ a: F32('1', 0, 4) }), /bad shape/],
  ['a negative offset', file({ a: F32([1], -4, 0) }), /bad data_offsets/],
  ['three offsets', file({ a: { dtype: 'F32', shape: [1], data_offsets: [0, 4, 8] } }), /bad data_offsets/],
  ['offsets in reverse', file({ a: F32([1], 4, 0) }, new Uint8Array(4)), /ends at byte 0, before it begins at 4/],
  ['a shape that needs more', file({ a: F32([2], 0, 4) }, new Uint8Array(4)), /needs 8 bytes, but has 4/],
  ['a shape beyond 2^53', file({ a: F32([2 ** 40, 2 ** 40], 0, 0) }), /but has 0/],
  [
    'a shape beyond float64',
    file({
      a: F32(
        Array(40)
          .fill(2 ** 50)
          .concat(0),
        0,
        0,
      ),
    }),
    /but has 0/,
  ],
  ['data cut off', file({ a: F32([2], 0, 8) }, new Uint8Array(7)), /truncated, tensor "a" ends at byte 8 of 7/],
  ['a gap', file({ a: F32([1], 0, 4), b: F32([1], 8, 12) }, new Uint8Array(12)), /"b" leaves a gap/],
  ['a gap at the start', file({ a: F32([1], 4, 8) }, new Uint8Array(8)), /"a" leaves a gap/],
  ['an overlap', file({ a: F32([2], 0, 8), b: F32([1], 4, 8) }, new Uint8Array(8)), /"b" overlaps/],
  ['data of no tensor', file({ a: F32([1], 0, 4) }, new Uint8Array(5)), /1 bytes of data belong to no tensor/],
  ['a nested dtype', file(`{"a":{"dtype":${'['.repeat(200_000)}${']'.repeat(200_000)}}}`), /dtype a list/],
  ['a name with line breaks', file({ 'a\n\u2028b': 1 }), /tensor/],
]

test('an unknown dtype is an error of its own, whatever it is called', () => {
  for (const dtype of ['F8_E4M3', 'toString', '', '__proto__']) {
    const bytes = file({ a: F32([3], 0, 3, dtype) }, new Uint8Array(3))
    throws(
      () => decodeSafetensors(bytes, 'x'),
      new RegExp(`^x: tensor "a" has dtype "${dtype}", known are .*convert it`),
      UserError,
    )
  }
})

test('what breaks the rules is refused in one line that names the file', () => {
  for (const [what, bytes, message] of malformed) {
    try {
      throws(() => decodeSafetensors(bytes, 'broken.safetensors'), message, UserError)
      throws(() => decodeSafetensors(bytes, 'broken.safetensors'), /^broken\.safetensors: .*use an intact copy$/, UserError)
    } catch (error) {
      throw new Error(`${what}: ${error}`)
    }
  }
  const notUtf8 = file('{"a":"?"}')
  notUtf8[14] = 0xff
  throws(() => decodeSafetensors(notUtf8, 'x'), /bad JSON header/, UserError)
})

/** Fails unless decoding soon gives a valid result or a UserError. @returns whether there is a result */
function decodesOrRefuses(bytes: Uint8Array, what: string): boolean {
  const started = performance.now()
  let decoded = false
  try {
    const { tensors } = decodeSafetensors(bytes, 'x')
    for (const [name, { shape, data }] of tensors) {
      if (shape.reduce((size, dim) => size * dim, 1) !== data.length) throw new Error(`${name} has a wrong length`)
    }
    decoded = true
  } catch (error) {
    if (!(error instanceof UserError) || /[\n\r\u2028]/.test(error.message)) throw new Error(`${what}: ${String(error)}`)
  }
  if (!(performance.now() - started < 2000)) throw new Error(`${what}: took ${performance.now() - started} ms`)
  return decoded
}

test('a file cut anywhere is refused', () => {
  const bytes = encodeSafetensors(new Map(entries), metadata)
  for (let length = 0; length < bytes.length; length++) {
    if (decodesOrRefuses(bytes.subarray(0, length), `cut to ${length}`)) throw new Error(`cut to ${length} was read`)
  }
})

test('damaged bytes give a UserError or a sound result', () => {
  const bytes = encodeSafetensors(new Map(entries), metadata)
  const header = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true))
  let refused = 0
  for (let round = 0; round < 6000; round++) {
    const random = new CounterRandom(9, [round, 0, 0])
    const damaged = bytes.slice()
    for (let n = 0; n <= random.below(3); n++) damaged[random.below(header)] = random.below(256)
    if (!decodesOrRefuses(damaged, `round ${round}`)) refused++
  }
  // Some changes touch only a name, a string or a digit that is not checked.
  if (!(refused > 3000 && refused < 6000)) throw new Error(`${refused} of 6000 refused`)
})

test('damaged digits of shapes and offsets give a UserError or a sound result', () => {
  const text =
    '{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"F16","shape":[4],"data_offsets":[24,32]}}'
  const tokens = [
    '0',
    '9',
    '-',
    '.',
    'e',
    ',',
    '[',
    ']',
    '{',
    '}',
    '"',
    '99999999999999999999',
    '1e308',
    'null',
    '9007199254740993',
  ]
  for (let round = 0; round < 6000; round++) {
    const random = new CounterRandom(10, [round, 0, 0])
    const at = random.below(text.length)
    const changed = text.slice(0, at) + tokens[random.below(tokens.length)]! + text.slice(at + random.below(2))
    decodesOrRefuses(file(changed, new Uint8Array(32)), changed)
  }
})

run()
