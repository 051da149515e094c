// A kernel of a user's own, with an op that differentiates it, from the package's public functions alone.
import * as assert from 'uvu/assert'
import {
  ArgumentError,
  capture,
  defineOp,
  empty,
  KernelCompileError,
  type KernelSpec,
  run as launch,
  requestDevice,
  type Tensor,
  tensor,
} from '../../train/index.ts'
import { suite } from '../harness/suite.ts'
import { throws } from '../train/userError.ts'

const device = await requestDevice()
const { test, run } = suite('a kernel of your own')

const source = `
// x [N], y [N]
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
struct Params { n: u32, factor: f32 }
@group(1) @binding(0) var<uniform> params: Params;
const SIZE: u32 = 64;

@compute @workgroup_size(SIZE)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < params.n) { y[id.x] = params.factor * x[id.x]; }
}`

interface Scale {
  n: number
  factor: number
}

const spec: KernelSpec<Scale> = {
  name: 'scale',
  bindings: [
    { name: 'x', access: 'read', dtype: 'f32' },
    { name: 'y', access: 'read_write', dtype: 'f32' },
  ],
  params: [
    { name: 'n', type: 'u32' },
    { name: 'factor', type: 'f32' },
  ],
  variants: [
    { name: 'plain', source, grid: ({ n }) => [Math.ceil(n / 64), 1, 1] },
    { name: 'small', source, constants: () => ({ SIZE: 32 }), grid: ({ n }) => [Math.ceil(n / 32), 1, 1] },
  ],
  flops: ({ n }) => n,
  bytes: ({ n }) => 8 * n,
}

function scaled(x: Tensor, factor: number, variant?: string): Tensor {
  const y = empty(x.shape, 'float32', x.device)
  launch(spec, { n: x.size, factor }, [x, y], { variant })
  return y
}

const scale = defineOp<[Tensor], number>({
  name: 'scale',
  forward: (_, [x], factor) => scaled(x.contiguous(), factor),
  backward: (_, grad, factor) => [scaled(grad.contiguous(), factor)],
})

test('it runs, in each variant', async () => {
  const x = tensor(Float32Array.from({ length: 100 }, (_, i) => i))
  const expected = Array.from({ length: 100 }, (_, i) => 3 * i)
  for (const variant of [undefined, 'plain', 'small'])
    assert.equal(Array.from(await scaled(x, 3, variant).data()), expected, variant)
})

test('an op of it has a gradient, through views too', async () => {
  const x = tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3], requiresGrad: true })
  const y = scale([x.transpose(0, 1)], 3)
  assert.equal(Array.from(await y.data()), [3, 12, 6, 15, 9, 18])
  y.mul(tensor([1, 2, 3, 4, 5, 6], { shape: [3, 2] }))
    .sum()
    .backward()
  assert.equal(Array.from(await x.grad!.data()), [3, 9, 15, 6, 12, 18])
})

test('it runs in captured steps', async () => {
  const step = capture((x: Tensor) => scaled(x, 2))
  for (const value of [1, 5]) assert.equal(Array.from(await step(tensor([value, -value])).data()), [2 * value, -2 * value])
  step.dispose()
})

test('what does not fit is an ArgumentError that says what', () => {
  const x = tensor([1, 2])
  const y = empty([2], 'float32', device)
  const problem = { n: 2, factor: 1 }
  throws(() => launch(spec, problem, [x]), /^run: got 1 tensors, scale takes x, y$/, ArgumentError)
  throws(() => launch(spec, { n: 2 } as Scale, [x, y]), /^run: parameter factor = undefined is not a f32$/, ArgumentError)
  throws(
    () => launch(spec, problem, [x, y], { variant: 'fast' }),
    /^run: got "fast" as variant, takes one of plain, small$/,
    ArgumentError,
  )
  throws(
    () => launch({ ...spec, variants: [] }, problem, [x, y]),
    /^run: got an object as spec, takes a KernelSpec/,
    ArgumentError,
  )
  throws(() => launch(spec, problem, [x, tensor([1], { dtype: 'float32' }), y]), /^run: got 3 tensors/, ArgumentError)
})

test('WGSL that does not compile is named with its line', async () => {
  const broken = {
    ...spec,
    name: 'broken',
    variants: [{ ...spec.variants[0]!, source: source.replace('y[id.x] =', 'z[id.x] =') }],
  }
  const x = tensor([1, 2])
  const y = empty([2], 'float32', device)
  launch(broken, { n: 2, factor: 1 }, [x, y])
  const error = await y.data().then(
    () => undefined,
    (error: unknown) => error,
  )
  assert.ok(error instanceof KernelCompileError, String(error))
  assert.match((error as Error).message, /broken/)
})

run()
