// Messages between machines: packed, cut into parts, joined, and refused when they are not what they should be.
import * as assert from 'uvu/assert'
import { UserError } from '../../engine/index.ts'
import { checkRequest } from '../../train/fleet/branches/checkRequest.ts'
import { Cutter, Joiner } from '../../train/fleet/branches/frames.ts'
import { pack, unpack } from '../../train/fleet/branches/wire.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('messages between machines')

const floats = (length: number, of = (i: number) => Math.sin(i) * 10 ** ((i % 60) - 30)) =>
  Float32Array.from({ length }, (_, i) => of(i))

const bitsOf = ({ buffer }: Float32Array) => [...new Uint32Array(buffer)]

test('values come back as they were', () => {
  const message = {
    id: 3,
    none: null,
    numbers: [1.5, -0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
    map: new Map<string, unknown>([['a.b', { shape: [2, 3], data: floats(6) }]]),
    arrays: [new Int32Array([-1, 2 ** 31 - 1]), new Uint32Array([2 ** 32 - 1]), new Uint8Array([1, 2, 255]), floats(0)],
    text: 'ä $array',
  }
  const found = unpack(pack(message)) as typeof message
  assert.equal(found, message)
  assert.ok(Object.is(found.numbers[1], 0), 'JSON has no negative zero')
})

test('float16 rounds to nearest, small numbers beside smaller ones too', () => {
  const values = floats(1000, (i) => Math.sin(i) * 2 ** ((i % 30) - 15))
  for (const scale of [1, 2 ** -60, 2 ** 60]) {
    const scaled = values.map((value) => value * scale)
    const found = unpack(pack({ scaled }, { halves: true })) as { scaled: Float32Array }
    for (const [i, value] of scaled.entries()) {
      const error = Math.abs(found.scaled[i]! - value)
      assert.ok(error <= Math.max(Math.abs(value) * 2 ** -11, scale * 2 ** -25), `${value} became ${found.scaled[i]}`)
    }
  }
  const odd = Float32Array.of(Number.NaN, 1, Number.NEGATIVE_INFINITY, 2 ** -20, -0)
  for (const special of [odd, new Float32Array(3), Float32Array.of(2 ** -149, 0), Float32Array.of(2 ** 127)])
    assert.equal(bitsOf((unpack(pack({ special }, { halves: true })) as { special: Float32Array }).special), bitsOf(special))
  assert.is(pack({ values }, { halves: true }).length < 0.6 * pack({ values }).length, true)
})

test('images of 8-bit files travel as bytes, and come back with their bits', async () => {
  const [B, C, side] = [5, 3, 7]
  const plane = side * side
  const images = floats(B * C * plane, (i) => {
    const channel = Math.floor(i / plane) % C
    return (((i * 7919) % 256) / 255 - 0.4 - channel / 10) / (0.2 + channel / 7)
  })
  const packed = pack({ images }, { plane })
  assert.equal((unpack(packed) as { images: Float32Array }).images, images)
  assert.ok(packed.length < images.length + 3 * 1024 + 300, `${packed.length} bytes for ${images.length} pixels`)
  // The same array may hold other images later.
  const before = images.slice()
  await Promise.resolve()
  images.fill(images[1]!)
  assert.equal((unpack(pack({ images }, { plane })) as { images: Float32Array }).images, images)
  assert.not.equal(images, before)
  // Images of more values travel as they are.
  const smooth = floats(B * C * plane)
  assert.equal((unpack(pack({ smooth }, { plane })) as { smooth: Float32Array }).smooth, smooth)
})

test('parts are joined to messages of any size', () => {
  const [cutter, joiner] = [new Cutter(), new Joiner(2 ** 20)]
  for (const size of [0, 1, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 700_000]) {
    const message = Uint8Array.from({ length: size }, (_, i) => i % 251)
    const parts = cutter.cut(message)
    const found = parts.map((part) => joiner.join(part))
    assert.equal(
      found.slice(0, -1).map((joined) => joined),
      Array(parts.length - 1).fill(undefined),
    )
    assert.equal(found.at(-1), message)
  }
})

test('a part that is lost, repeated, too short, or announces too much is refused', () => {
  const message = new Uint8Array(600_000)
  const refused = (parts: (parts: Uint8Array[]) => Uint8Array[], limit = 2 ** 20) => {
    const joiner = new Joiner(limit)
    assert.throws(
      () => {
        for (const part of parts(new Cutter().cut(message))) joiner.join(part)
      },
      (error: Error) => error instanceof UserError,
    )
  }
  refused(([first, _, third]) => [first!, third!])
  refused(([first]) => [first!, first!])
  refused(([first, second]) => [first!, second!.subarray(0, 100)])
  refused(([first]) => [first!.subarray(0, 5)])
  refused((parts) => parts, 500_000)
  const huge = new Cutter().cut(message)[0]!.slice()
  new DataView(huge.buffer).setUint32(8, 2 ** 30, true)
  refused(() => [huge])
})

test('a damaged message is refused in one line', () => {
  const packed = pack({ images: floats(50), list: [1, 2, 3] })
  for (let i = 0; i < packed.length; i += 3) {
    const damaged = packed.slice(0, i)
    try {
      unpack(damaged)
      assert.unreachable(`${i} of ${packed.length} bytes were taken`)
    } catch (error) {
      assert.instance(error, UserError, String(error))
    }
  }
  const text = (json: string) => {
    const bytes = new TextEncoder().encode(json)
    const made = new Uint8Array(4 + Math.ceil(bytes.length / 4) * 4)
    new DataView(made.buffer).setUint32(0, bytes.length, true)
    made.set(bytes, 4)
    return made
  }
  for (const json of [
    '{"$array":"Float32Array","at":0,"length":1e9}',
    '{"$array":"constructor","at":0,"length":1}',
    '{"$array":"Float32Array","at":-4,"length":1}',
    '{"$array":"Float32Array","at":0,"length":1.5}',
    '{"$halves":0,"length":0,"exponent":1e9}',
    '{"$halves":0,"length":0}',
    '{"$planes":0,"palettes":0,"planes":0,"width":1,"length":4}',
    '{"$planes":0,"palettes":0,"planes":1e9,"width":1,"length":4}',
    '{"$map":3}',
    '{"$map":[3]}',
    `${'['.repeat(20)}${']'.repeat(20)}`,
  ])
    assert.throws(
      () => unpack(text(json)),
      (error: Error) => error instanceof UserError,
      json,
    )
})

test('requests of a wrong kind, shape or order are refused', () => {
  const config = {
    ...{ architecture: 'paraformer', imageSize: 12, patchSize: 4, channels: 1, dim: 24, heads: 2, dimHead: 12, mlpDim: 40 },
    ...{ branches: 2, branchDepth: 1, classes: 5 },
  }
  const entry = { dtype: 'F32', shape: [2, 3], data: floats(6) }
  const state = { parameters: new Map([['a', entry]]), m: new Map(), v: new Map(), steps: {} }
  const open = { index: 1, config, own: [1], stem: new Map([['b', entry]]), branches: state }
  const spec = (more: object) => ({ id: 0, open: { ...open, ...more } })
  assert.is((checkRequest(spec({}), undefined) as { id: number }).id, 0)
  const wrong: [unknown, boolean][] = [
    [spec({ own: [2] }), true],
    [spec({ own: [] }), true],
    [spec({ config: { ...config, dim: -1 } }), true],
    [spec({ config: { ...config, architecture: 'vit' } }), true],
    [spec({ stem: new Map([['b', { ...entry, shape: [7] }]]) }), true],
    [spec({ stem: new Map([['b', { dtype: 'F32', shape: [2 ** 20], data: new Float32Array(2 ** 20) }]]) }), true],
    [spec({ stem: { b: entry } }), true],
    [spec({}), false],
    [{ id: 1, method: 'state', args: [] }, true],
    [{ id: 1, method: 'constructor', args: [] }, false],
    [{ id: 1, method: 'load', args: [0, [1, 2], 1] }, false],
    [{ id: 1, method: 'load', args: [0, floats(4), 1e9] }, false],
    [{ id: 1, method: 'forward', args: [{ images: 0, branches: 1 }] }, false],
    [{ id: 1, method: 'update', args: [{ lr: 1, maxNorm: 1, square: 1, stem: [1] }] }, false],
    [{ id: 'x', method: 'state', args: [] }, false],
    [null, false],
    [7, true],
  ]
  for (const [message, first] of wrong)
    assert.throws(
      () => checkRequest(message, first ? undefined : 'open'),
      (error: Error) => error instanceof UserError,
      JSON.stringify(message),
    )
})
run()
