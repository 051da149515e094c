// Values from the host: which ones make tensors, which ones are refused, and seeds.
import * as assert from 'uvu/assert'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { RandomState } from '../../engine/device/random.ts'
import { arange, full, type Tensor, type TensorOptions, tensor, where } from '../../engine/index.ts'
import { messageOf } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`host values on ${device.summary.name}`)

const make = (data: unknown, options?: TensorOptions) => tensor(data as number, options)
const refused = (data: unknown, options?: TensorOptions) => messageOf(() => make(data, options))

async function check(t: Tensor, values: number[], dtype: string): Promise<void> {
  assert.is(t.dtype, dtype)
  assert.equal(Array.from(await t.data()), values)
}

const int32 = { dtype: 'int32' } as const

test('int32 takes whole numbers of 32 bits, and the message has the first that is none with its index', async () => {
  const takes = 'int32 takes whole numbers from -2147483648 to 2147483647'
  assert.is(refused([NaN, 3e9, 1.5], int32), `tensor: value 0 is NaN; ${takes}`)
  assert.is(refused([0, 3e9, 1.5], int32), `tensor: value 1 is 3000000000; ${takes}`)
  assert.is(
    refused(
      [
        [0, 1],
        [2, 1.5],
      ],
      int32,
    ),
    `tensor: value 3 is 1.5; ${takes}`,
  )
  assert.is(refused(Number.POSITIVE_INFINITY, int32), `tensor: value 0 is Infinity; ${takes}`)
  assert.is(refused(Float32Array.of(1, 2, 0.5), int32), `tensor: value 2 is 0.5; ${takes}`)
  assert.is(refused(Float64Array.of(2 ** 31), int32), `tensor: value 0 is 2147483648; ${takes}`)
  assert.is(refused(Uint32Array.of(7, 2 ** 32 - 1), int32), `tensor: value 1 is 4294967295; ${takes}`)
  assert.is(refused([Float32Array.of(1), [-(2 ** 31) - 1]], int32), `tensor: value 1 is -2147483649; ${takes}`)
  await check(make([-(2 ** 31), -0, 2 ** 31 - 1], int32), [-(2 ** 31), 0, 2 ** 31 - 1], 'int32')
  await check(make(Float64Array.of(-1, 1e9), int32), [-1, 1e9], 'int32')
  await check(make(Uint32Array.of(5, 2 ** 31 - 1), int32), [5, 2 ** 31 - 1], 'int32')
  for (const Small of [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array]) {
    await check(make(Small.of(0, 1, 127), int32), [0, 1, 127], 'int32')
  }
})

test('int32 constants of ops', async () => {
  const ints = make([1, 2], int32)
  const takes = 'int32 takes whole numbers from -2147483648 to 2147483647'
  for (const value of [1.5, NaN, Infinity, 2 ** 31, -(2 ** 31) - 1]) {
    assert.is(
      messageOf(() => full([2], value, int32)),
      `full: got ${value}; ${takes}`,
    )
    for (const op of ['add', 'sub', 'mul', 'div'] as const)
      assert.is(
        messageOf(() => ints[op](value)),
        `${op}: got ${value}; ${takes}`,
      )
    assert.is(
      messageOf(() => where(ints, ints, value)),
      `where: got ${value}; ${takes}`,
    )
  }
  assert.is(
    messageOf(() => arange(0, 2, 0.5, int32)),
    `arange: got 0.5; ${takes}`,
  )
  assert.is(
    messageOf(() => arange(2 ** 31 - 2, 2 ** 31 + 2, int32)),
    `arange: got 2147483649; ${takes}`,
  )
  const least = -(2 ** 31)
  await check(full([2], least, int32), [least, least], 'int32')
  // int32 wraps around.
  await check(ints.add(least), [least + 1, least + 2], 'int32')
  await check(ints.sub(least), [least + 1, least + 2], 'int32')
  await check(ints.mul(least), [least, 0], 'int32')
  await check(ints.div(least), [0, 0], 'int32')
  await check(where(make([0, 1], int32), ints, least), [least, 2], 'int32')
})

test('lists hold numbers and nothing else', () => {
  const takes = 'takes numbers, lists of them or a typed array of numbers'
  const kinds: [unknown, string][] = [
    [undefined, 'undefined'],
    [null, 'null'],
    ['3', '"3"'],
    [3n, '3n'],
    [true, 'true'],
    [{}, 'an object'],
    [() => 1, 'a function'],
    [Symbol('x'), 'a symbol'],
    [make([1]), 'a tensor float32 [1]'],
    [Promise.resolve(1), 'an object of class Promise'],
  ]
  for (const [value, kind] of kinds) {
    for (const options of [{}, int32]) {
      assert.ok(refused([1, value], options).startsWith(`tensor: value 1 is ${kind}; ${takes}`), refused([1, value], options))
      assert.ok(
        refused(
          [
            [1, 2],
            [3, value],
          ],
          options,
        ).startsWith(`tensor: value 3 is ${kind}; ${takes}`),
      )
    }
    assert.ok(refused(value).startsWith(`tensor: got ${kind}, ${takes}`), refused(value))
    assert.ok(refused([value, 1], { shape: [2] }).startsWith(`tensor: value 0 is ${kind}; ${takes}`))
  }
  // biome-ignore lint/suspicious/noSparseArray: the test is about a sparse array
  assert.is(refused([1, , 3]), `tensor: value 1 is undefined; ${takes}`)
  assert.is(refused([1, true]), `tensor: value 1 is true; ${takes} (1 for true and 0 for false)`)
  assert.is(refused(Array(3)), `tensor: value 0 is undefined; ${takes}`)
  assert.match(refused({ length: 1, 0: 1 }, { shape: [1] }), 'an object')
  assert.match(refused({ length: 1, 0: 1 }), 'an object')
  assert.match(refused(new DataView(new ArrayBuffer(4))), 'DataView(4)')
  assert.match(refused(new ArrayBuffer(4)), 'an object of class ArrayBuffer')
  assert.match(
    refused(BigInt64Array.of(1n)),
    'BigInt64Array(1), takes numbers, lists of them or a typed array of numbers; convert it',
  )
  assert.match(refused(BigUint64Array.of(1n), { shape: [1] }), 'BigUint64Array(1)')
  assert.match(refused([BigInt64Array.of(1n)]), 'BigInt64Array(1)')
})

test('lists that are ragged, deep, or in themselves', async () => {
  assert.match(refused([1, [2]]), 'nested lists have different lengths: [], and [1] at 1')
  assert.match(refused([[1], 2]), 'nested lists have different lengths: [1], and [] at 1')
  assert.match(refused([[[1]], [[2, 3]]]), 'different lengths')
  assert.match(
    refused([
      [1, 2],
      [3, [4]],
    ]),
    'different lengths',
  )
  const own: unknown[] = []
  own.push(own)
  assert.match(refused(own), 'nested more than 64 deep')
  assert.match(refused(own, { shape: [1] }), 'nested more than 64 deep')
  // With a shape, nested lists give only the order of the values.
  await check(make([[1], [2, 3]], { shape: [3] }), [1, 2, 3], 'float32')
})

test('float32 rounds, beyond its range to infinity', async () => {
  await check(
    make([1e300, -1e300, 1e-60, 0.1, NaN, Infinity]),
    [Infinity, -Infinity, 0, Math.fround(0.1), NaN, Infinity],
    'float32',
  )
  await check(make(Float64Array.of(1e300, 0.1)), [Infinity, Math.fround(0.1)], 'float32')
  await check(make(Uint8Array.of(0, 255)), [0, 255], 'float32')
  await check(make(Int32Array.of(2 ** 24 + 1), { dtype: 'float32' }), [2 ** 24], 'float32')
  await check(full([1], 1e300), [Infinity], 'float32')
})

test('typed arrays of the dtype are taken as they are', async () => {
  const values = Float32Array.of(1, NaN, -0)
  await check(make(values), [1, NaN, -0], 'float32')
  await check(make(Int32Array.of(-(2 ** 31), 7)), [-(2 ** 31), 7], 'int32')
})

test('write takes the array of the dtype, or a tensor like it', async () => {
  const floats = make([1, 2])
  const ints = make([1, 2], int32)
  const write = (t: Tensor, data: unknown) => messageOf(() => t.write(data as Float32Array))
  for (const data of [
    undefined,
    null,
    3,
    '12',
    [1, 2],
    [1, undefined],
    {},
    () => 1,
    new Uint8Array(8),
    BigInt64Array.of(1n, 2n),
  ]) {
    assert.match(write(floats, data), /^write: .* into float32 \[2\], takes a Float32Array of 2 values$/)
    assert.match(write(ints, data), /^write: .* into int32 \[2\], takes an Int32Array of 2 values$/)
  }
  assert.match(
    write(ints, floats),
    /^write: float32 \[2\] into int32 \[2\], takes a tensor of the same shape, dtype and device$/,
  )
  assert.is(write(floats, [1, 2]), 'write: [1, 2] into float32 [2], takes a Float32Array of 2 values')
  assert.is(write(ints, Float32Array.of(1.5, 3e9)), 'write: Float32Array(2) into int32 [2], takes an Int32Array of 2 values')
  assert.is(write(floats, new Float32Array(3)), 'write: Float32Array(3) into float32 [2], takes a Float32Array of 2 values')
  assert.match(
    messageOf(() => floats.broadcastTo([2, 2]).write(new Float32Array(4))),
    'write: float32 [2, 2] is a strided view',
  )
  assert.match(
    messageOf(() => floats.write(new Float32Array(2), 3 as unknown as () => Float32Array)),
    'write: got 3 as update',
  )
  await check(floats, [1, 2], 'float32')
})

test('a seed is a whole number of 53 bits, all of which count', () => {
  const { random } = device
  random.seed = 5
  random.counter = 3
  for (const seed of [0.5, -1, NaN, Infinity, 2 ** 53, 1e300, '7', 7n, undefined, null, true, [1]]) {
    assert.match(
      messageOf(() => Object.assign(random, { seed })),
      /^device\.random: got .+ as seed, takes a whole number of at least 0, below 2\^53$/,
    )
    assert.match(
      messageOf(() => Object.assign(random, { counter: seed })),
      /^device\.random: got .+ as counter, takes a whole number/,
    )
    if (seed !== undefined)
      assert.match(
        messageOf(() => new RandomState(seed as number)),
        'as seed',
      )
  }
  // A refused value changes nothing.
  assert.equal([random.seed, random.counter], [5, 3])
  for (const seed of [0, 1, 2 ** 32, 2 ** 53 - 1]) {
    random.seed = seed
    assert.equal([random.seed, random.counter, random.next().seed], [seed, 0, seed])
  }
})

run()
