import { gatherGradients, holdArenas } from '../../engine/autograd/arena.ts'
import { backward, zeroGrad } from '../../engine/autograd/backward.ts'
import { defineOp, noGrad, watchOps } from '../../engine/autograd/tape.ts'
import { ArgumentError, OutOfMemoryError, ShapeError } from '../../engine/base/errors.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { rand } from '../../engine/ops/create.ts'
import { add, mul } from '../../engine/ops/elementwise.ts'
import { sum } from '../../engine/ops/reduce.ts'
import { reshape, transpose } from '../../engine/ops/shape.ts'
import { copyInto } from '../../engine/tensor/copies.ts'
import { type TensorOptions, tensor } from '../../engine/tensor/fromValues.ts'
import { scope } from '../../engine/tensor/scope.ts'
import { empty, type Tensor } from '../../engine/tensor/tensor.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('tensor and autograd')
const device = await requestDevice()
const leaf = (data: number[], options: TensorOptions = {}) => tensor(data, { requiresGrad: true, ...options })
const live = () => device.memory.liveBytes

function throws(body: () => unknown, message: RegExp, type: new (message: string) => Error = Error): void {
  try {
    body()
  } catch (error) {
    if (error instanceof type && message.test(error.message)) return
    throw new Error(`got ${error}, expected ${type.name} ${message}`)
  }
  throw new Error(`nothing thrown, expected ${message}`)
}

test('tensors from nested lists, numbers and typed arrays', async () => {
  const nested = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ])
  if (nested.shape.join() !== '2,3' || nested.dtype !== 'float32') throw new Error(`${nested.shape} ${nested.dtype}`)
  const scalar = tensor(7)
  if (scalar.ndim !== 0 || (await scalar.item()) !== 7) throw new Error('a number is a tensor of rank 0')
  const whole = tensor(Int32Array.of(1, -2), { shape: [2, 1] })
  if (whole.dtype !== 'int32' || (await whole.data())[1] !== -2) throw new Error('an Int32Array is int32')
  throws(() => tensor([[1, 2], [3]]), /different lengths/, ShapeError)
  throws(() => tensor([1, 2, 3], { shape: [2, 2] }), /3 values do not fill shape \[2, 2\]/, ShapeError)
  throws(() => empty([2, 0]), /not at least 1/, ShapeError)
  throws(() => tensor([1, 2]).write(Float32Array.of(1)), /Float32Array\(1\) into float32 \[2\]/, ShapeError)
})

test('a value used twice gets both gradients; a leaf accumulates over calls', async () => {
  const x = leaf([1, 2, 3])
  const step = () =>
    scope(() => {
      const y = mul(x, x) // x^2
      backward(add(add(y, y), x), tensor([1, 10, 100])) // 2 x^2 + x, derivative 4 x + 1
    })
  step()
  assertClose(await x.grad!.data(), [5, 90, 1300], 1e-6, 'once')
  step()
  assertClose(await x.grad!.data(), [10, 180, 2600], 1e-6, 'twice')
})

test('gradients flow through views, and a shared gradient is not added to in place', async () => {
  const x = leaf([1, 2, 3, 4, 5, 6], { shape: [2, 3] })
  scope(() => {
    const t = transpose(x, 0, 1) // [3, 2]
    const y = add(
      t,
      mul(
        t,
        tensor([
          [1, 2],
          [3, 4],
          [5, 6],
        ]),
      ),
    ) // prettier-ignore
    backward(
      add(y, t),
      tensor([
        [1, 1],
        [1, 1],
        [1, 10],
      ]),
    )
  })
  assertClose(await x.grad!.data(), [3, 5, 7, 4, 6, 80], 1e-6, 'gradient')
})

test('backward says what is wrong with how it is called', () => {
  const x = leaf([1, 2])
  const y = mul(x, 2)
  throws(() => backward(y), /more than one element; give a cotangent/, ShapeError)
  throws(() => backward(y, tensor([1, 2, 3])), /cotangent \[3\] for a tensor of shape \[2\]/, ShapeError)
  throws(() => backward(tensor([1])), /no input of this tensor requires gradients/)
  const square = mul(x, x)
  backward(sum(square))
  throws(() => backward(sum(square)), /mul was already differentiated.*run the forward pass again/)
  const odd = defineOp<[Tensor]>({ name: 'odd', forward: (_, [t]) => mul(t, 3) })
  throws(() => backward(sum(odd([x], undefined))), /odd has no backward/)
})

test('nothing is taped inside noGrad, nor after detach', () => {
  const x = leaf([1, 2])
  if (noGrad(() => mul(x, x)).requiresGrad) throw new Error('noGrad')
  if (mul(x.detach(), 2).requiresGrad) throw new Error('detach')
  if (!mul(x, 2).requiresGrad) throw new Error('a taped op')
})

test('an op that throws leaves nothing behind', () => {
  const bad = defineOp<[Tensor]>({
    name: 'bad',
    forward(ctx, [t]) {
      ctx.saveForBackward(mul(t, 2))
      throw new Error('on purpose')
    },
  })
  scope(() => {
    const x = leaf(Array(1000).fill(1))
    const before = live()
    throws(() => bad([x], undefined), /on purpose/)
    if (live() !== before) throw new Error(`${before} bytes before, ${live()} after`)
  })
})

test('scope keeps its result and frees the rest; what backward needs lives until it has run', () => {
  scope(() => {
    const x = leaf(Array(1024).fill(1))
    const before = live()
    const y = scope(() => {
      empty([4096])
      return { kept: [mul(mul(x, x), x)] }
    })
    // Live are y, and x * x, which the second product saved.
    if (live() !== before + 2 * 4096) throw new Error(`${live() - before} bytes`)
    scope(() => backward(sum(y.kept[0]!)))
    // Live are y and the gradient of x.
    if (live() !== before + 2 * 4096) throw new Error(`${live() - before} bytes after backward`)
  })
  throws(() => scope(async () => 1), /asynchronous/)
})

test('a tape that is dropped without backward frees what it saved', () => {
  scope(() => {
    const x = leaf(Array(1024).fill(1))
    const before = live()
    scope(() => {
      let y = x
      for (let i = 0; i < 2000; i++) y = mul(y, x)
    })
    if (live() !== before) throw new Error(`${live() - before} bytes`)
  })
})

test('training steps hold live and pooled bytes steady', async () => {
  const w = leaf(Array(64).fill(0.1), { shape: [8, 8] })
  const step = () =>
    scope(() => {
      const y = mul(add(w, 1), transpose(w, 0, 1))
      backward(sum(mul(y, y)))
      w.grad!.dispose()
      w.grad = undefined
    })
  for (let i = 0; i < 50; i++) step()
  await device.synchronize()
  const before = device.memory
  for (let i = 0; i < 500; i++) step()
  await device.synchronize()
  const after = device.memory
  if (after.liveBytes > before.liveBytes || after.buffers > before.buffers) throw new Error(JSON.stringify({ before, after }))
})

test('steps that allocate alike get the same buffers and make no bind groups, whatever is freed first', async () => {
  const { gpu } = device
  const create = gpu.createBindGroup.bind(gpu)
  let made = 0
  gpu.createBindGroup = (descriptor) => {
    made++
    return create(descriptor)
  }
  const w = leaf([1, 2, 3])
  const step = (i: number) =>
    scope(() => {
      backward(sum(mul(mul(w, 2), mul(w, 3))))
      w.grad?.dispose()
      w.grad = undefined
      const temporaries = [mul(w, 4), mul(w, 5), mul(w, 6)]
      // The order differs from turn to turn.
      for (let k = 0; k < 3; k++) temporaries[(i + k) % 3]!.dispose()
    })
  for (let i = 0; i < 3; i++) step(i)
  made = 0
  for (let i = 0; i < 100; i++) step(i)
  gpu.createBindGroup = create
  if (made > 0) throw new Error(`${made} new bind groups`)
  // Not all of 9,000 new bind groups may be kept, since a process has few memory mappings.
  const { length } = Array.from({ length: 9000 }, (_, i) => mul(tensor([i]), 2))
  assertClose(await mul(tensor([length]), 2).data(), [18000], 0, 'after many bind groups')
})

test('an arena moves parameters and takes gradients in place', async () => {
  const parameters = [leaf([1, 2, 3]), leaf(Array(100).fill(2), { shape: [10, 10] })]
  const arena = holdArenas('test', parameters)[0]!
  // Slots begin at multiples of 128 elements, where float16 values can be bound too.
  if (arena.length !== 128 + 128) throw new Error(`length ${arena.length}`)
  assertClose(await parameters[0]!.data(), [1, 2, 3], 0, 'values')
  const objective = () => scope(() => backward(add(sum(mul(parameters[0]!, 3)), sum(mul(parameters[1]!, parameters[1]!)))))
  objective()
  objective()
  const flat = await arena.gradients.data()
  assertClose(flat.subarray(0, 3), [6, 6, 6], 1e-6, 'first slot')
  assertClose(flat.subarray(128, 228), Array(100).fill(8), 1e-6, 'second slot')
  if (parameters[1]!.grad!.storage !== arena.gradients.storage) throw new Error('the gradient lies elsewhere')
  zeroGrad(parameters)
  if (parameters[0]!.grad) throw new Error('a gradient is left')
  objective()
  assertClose(await parameters[0]!.grad!.data(), [3, 3, 3], 1e-6, 'afresh')
  copyInto(tensor([9, 9, 9]), parameters[0]!)
  assertClose((await arena.values.data()).subarray(0, 4), [9, 9, 9, 0], 0, 'values after a copy')
})

test('gradients of an arena can be differentiated with', async () => {
  const [a, b] = [leaf([1, 2, 3]), leaf([4, 5, 6])] as const
  const arena = holdArenas('test', [a, b])[0]!
  backward(sum(mul(a, 2)))
  // One op saves the gradient, one gets it as a cotangent to compute with, and one passes it on as a cotangent.
  const uses = [() => backward(sum(mul(b, a.grad!))), () => backward(mul(b, 1), a.grad), () => backward(add(b, 0), a.grad)]
  for (const use of uses) {
    use()
    assertClose(await b.grad!.data(), [2, 2, 2], 0, 'the first gradient')
    use()
    assertClose(await arena.slot(arena.gradients, 1).data(), [4, 4, 4], 0, 'the sum of two')
    b.grad!.dispose()
    b.grad = undefined
  }
})

test('watchOps sees every op, forward and backward', () => {
  const x = leaf([1, 2])
  const seen: string[] = []
  watchOps(
    (name) => seen.push(name),
    () => scope(() => backward(sum(mul(reshape(x, [2, 1]), 2)))),
  )
  for (const name of ['reshape', 'mul', 'sum', 'sum.backward', 'mul.backward']) {
    if (!seen.includes(name)) throw new Error(`${name} is not among ${seen}`)
  }
})

test('using a disposed tensor is an error', async () => {
  const x = tensor([1])
  x.dispose()
  x.dispose()
  throws(() => x.detach(), /used after it was disposed/)
})

test('an op may give back what it was given, saved or captured, or one gradient for two inputs', async () => {
  const identity = defineOp<[Tensor]>({ name: 'identity', forward: (_ctx, [x]) => x, backward: (_ctx, grad) => [grad] })
  const outside = tensor([7, 8])
  const kept = defineOp<[Tensor]>({
    name: 'kept',
    forward(ctx, [x]) {
      ctx.saveForBackward(x)
      return mul(x, 1)
    },
    backward: (ctx) => [ctx.saved[0]],
  })
  const captured = defineOp<[Tensor]>({ name: 'captured', forward: (_ctx, [x]) => mul(x, 1), backward: () => [outside] })
  const shared = defineOp<[Tensor, Tensor]>({
    name: 'shared',
    forward: (_ctx, [x, y]) => add(x, y),
    backward(_ctx, grad) {
      const twice = mul(grad, 2)
      return [twice, twice]
    },
  })
  const [a, b, c, d, e] = [
    [1, 2],
    [3, 4],
    [5, 6],
    [5, 6],
    [5, 6],
  ].map((data) => leaf(data)) as [Tensor, Tensor, Tensor, Tensor, Tensor]
  backward(mul(identity([mul(a, 2)], undefined), 3), tensor([1, 1]))
  backward(kept([mul(b, 2)], undefined), tensor([1, 1]))
  backward(captured([c], undefined), tensor([1, 1]))
  backward(shared([d, mul(e, 3)], undefined), tensor([1, 10]))
  const expected = [
    [6, 6],
    [12, 16],
    [7, 8],
    [2, 20],
    [6, 60],
  ]
  for (const [i, leaf] of [a, b, c, d, e].entries()) assertClose(await leaf.grad!.data(), expected[i]!, 0, `gradient ${i}`)
  assertClose(await outside.data(), [7, 8], 0, 'what was captured')
})

test('a gradient of the wrong shape, or a cotangent of the wrong dtype, is an error', () => {
  const wrong = defineOp<[Tensor]>({ name: 'wrong', forward: (_ctx, [x]) => mul(x, 2), backward: (_ctx, grad) => [sum(grad)] })
  throws(() => backward(wrong([leaf([1, 2])], undefined), tensor([1, 1])), /wrong\.backward.*\[\].*input 0.*\[2\]/, ShapeError)
  throws(() => backward(mul(leaf([1, 2]), 2), tensor(Int32Array.of(1, 1))), /cotangent of int32/, ShapeError)
})

test('ops refuse disposed inputs, asynchronous functions and unknown dtypes; a tensor too large names its op', () => {
  const gone = tensor([1, 2])
  gone.dispose()
  throws(() => add(gone, 1), /add: a tensor of shape \[2\] was used after it was disposed/)
  throws(() => noGrad(async () => {}), /noGrad: the function is asynchronous/)
  throws(() => empty([1], 'float64' as 'float32'), /dtype float64/, ShapeError)
  throws(() => empty(3 as unknown as number[]), /takes a list such as/, ShapeError)
  const wide = tensor(new Float32Array(32768))
  throws(() => mul(reshape(wide, [32768, 1]), wide), /mul of shape \[32768, 32768\]: .*4294967296 bytes/, OutOfMemoryError)
})

test('typed arrays in lists, and lists that are ragged deep inside', async () => {
  const rows = tensor([Float32Array.of(1, 2), Float32Array.of(3, 4)] as unknown as number[][])
  assertClose(await rows.data(), [1, 2, 3, 4], 0, 'rows')
  throws(() => tensor([1, [2, 3]]), /different lengths/, ShapeError)
  throws(() => tensor([]), /tensor: shape \[0\]/, ShapeError)
  throws(() => tensor(undefined as unknown as number), /tensor: got undefined/, ArgumentError)
})

test('an arena takes gradients made before it or set by hand, and refuses what it cannot hold', async () => {
  const [a, b] = [leaf([1, 2]), leaf([3])]
  backward(mul(a, 3), tensor([1, 2]))
  const arena = holdArenas('test', [a, b])[0]!
  b.grad = tensor([5])
  backward(mul(b, 2))
  gatherGradients('test', arena.parameters)
  for (const [i, expected] of [[3, 6], [7]].entries()) {
    assertClose(await arena.slot(arena.gradients, i).data(), expected, 0, `slot ${i}`)
    assertClose(await arena.parameters[i]!.grad!.data(), expected, 0, `gradient ${i}`)
  }
  throws(() => holdArenas('test', []), /test: got no parameters/, ShapeError)
  throws(() => holdArenas('test', [a, a]), /parameter 1 is there twice/, ShapeError)
  throws(() => holdArenas('test', [tensor(Int32Array.of(1))]), /parameter 0 is int32 \[1\]/, ShapeError)
})

test('setting the seed starts the random numbers anew', async () => {
  const draw = async () => (await rand([4])).data()
  device.random.seed = 5
  const first = await draw()
  const second = await draw()
  device.random.seed = 5
  assertClose(await draw(), first, 0, 'again')
  if (first[0] === second[0]) throw new Error('the next numbers are the same')
})

test('an arena made in a scope outlives it, and dispose gives its memory back', () => {
  const before = live()
  const parameter = leaf(Array(1000).fill(1))
  const arena = scope(() => ({ kept: holdArenas('test', [parameter])[0]! })).kept
  scope(() => backward(sum(parameter)))
  arena.dispose()
  parameter.dispose()
  if (live() > before) throw new Error(`${live() - before} bytes are left`)
})

test('a gradient is a tensor or undefined', () => {
  const w = tensor([1], { requiresGrad: true })
  for (const wrong of [5, null, 'none', [1], Float32Array.of(1)]) {
    throws(() => {
      ;(w as { grad: unknown }).grad = wrong
    }, /^grad: got .*, takes a tensor or undefined$/)
  }
})

test('ends', () => device.destroy())
run()
