import { holdArenas } from '../../engine/autograd/arena.ts'
import { autocast } from '../../engine/autograd/autocast.ts'
import { backward, zeroGrad } from '../../engine/autograd/backward.ts'
import { noGrad, watchOps } from '../../engine/autograd/tape.ts'
import { capture } from '../../engine/capture.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { concat } from '../../engine/ops/concat.ts'
import { crossEntropy } from '../../engine/ops/crossEntropy.ts'
import { add } from '../../engine/ops/elementwise.ts'
import { groupNorm } from '../../engine/ops/groupNorm.ts'
import { layerNorm } from '../../engine/ops/layerNorm.ts'
import { linear } from '../../engine/ops/linear.ts'
import { mseLoss } from '../../engine/ops/losses.ts'
import { matmul } from '../../engine/ops/matmul.ts'
import { maximum } from '../../engine/ops/pairwise.ts'
import { rmsNorm } from '../../engine/ops/rmsNorm.ts'
import { softmax } from '../../engine/ops/softmax.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import { scope } from '../../engine/tensor/scope.ts'
import type { Tensor } from '../../engine/tensor/tensor.ts'
import { ParaFormer, ViT } from '../../model/index.ts'
import { normals } from '../harness/checkOp.ts'
import { relativeError } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('autocast')

const CONFIG = { imageSize: 16, patchSize: 4, channels: 1, dim: 32, heads: 2, dimHead: 16, mlpDim: 64, classes: 10, dropout: 0 }
const B = 6
const images = tensor(normals(B * 16 * 16, 1), { shape: [B, 1, 16, 16] })
const labels = tensor(Int32Array.from({ length: B }, (_, i) => i % 10))

type Model = ParaFormer | ViT

function loss(model: Model): Tensor {
  return crossEntropy(model.forward(images), labels)
}

/** The loss, and the gradients by parameter name. */
async function gradients(model: Model, dtype: 'float32' | 'float16'): Promise<Map<string, Float32Array>> {
  const value = scope(() => {
    const value = autocast(dtype, () => loss(model))
    backward(value)
    return value
  })
  const found = new Map([['loss', (await value.data()) as Float32Array]])
  for (const [name, parameter] of model.namedParameters()) {
    if (parameter.grad!.dtype !== 'float32') throw new Error(`the gradient of ${name} is ${parameter.grad!.dtype}`)
    found.set(name, (await parameter.grad!.data()) as Float32Array)
    parameter.grad!.dispose()
    parameter.grad = undefined
  }
  return found
}

function throws(fn: () => unknown, message: RegExp): void {
  try {
    fn()
  } catch (error) {
    if (message.test((error as Error).message)) return
    throw error
  }
  throw new Error(`nothing thrown, expected ${message}`)
}

if (device.capabilities.f16) {
  for (const residual of ['paper', 'preNorm'] as const) {
    for (const [name, make] of [
      ['ParaFormer', () => new ParaFormer({ ...CONFIG, residual, branches: 2, branchDepth: 2 })],
      ['ViT, mean pool', () => new ViT({ ...CONFIG, residual, depth: 2, pool: 'mean' })],
    ] as const) {
      test(`${name}, ${residual}: loss and gradients are those of float32 to 1e-2`, async () => {
        const model = make()
        const [want, got] = [await gradients(model, 'float32'), await gradients(model, 'float16')]
        for (const [key, values] of got) {
          const error = relativeError(values, want.get(key)!)
          if (!(error <= 1e-2)) throw new Error(`${key}: ${error}`)
          if (key === 'head.linear.weight' && error === 0) throw new Error('nothing was computed in float16')
        }
      })
    }
  }

  test('products and attention give float16; what sums, normalises or is a result gives float32', () => {
    const model = new ParaFormer({ ...CONFIG, branches: 1, branchDepth: 2 })
    const outputs: string[] = []
    const note = (name: string, { dtype, shape }: Tensor) => {
      if (!name.includes('backward')) outputs.push(`${name} ${shape.at(-1)} ${dtype}`)
    }
    watchOps(note, () => scope(() => autocast('float16', () => loss(model))))
    const products = outputs.filter((output) =>
      /^(linear|mlp|packedAttention|firstTokenAttention|layerNorm|crossEntropy)/.test(output),
    )
    const wanted = [
      'linear 32 float32', // embedding
      'layerNorm 32 float32',
      'linear 96 float16', // q, k and v
      'packedAttention 32 float16',
      'linear 32 float32', // with the residual
      'layerNorm 32 float32',
      'mlp 32 float32',
      'layerNorm 32 float32',
      'firstTokenAttention 32 float16',
      'linear 32 float32',
      'layerNorm 32 float32',
      'mlp 32 float32',
      'layerNorm 32 float32',
      'linear 10 float32', // logits
      'crossEntropy undefined float32',
    ]
    if (products.join() !== wanted.join()) throw new Error(products.join('\n'))
  })

  test('parameters of an arena are cast once, in one dispatch, and the copy goes', () => {
    const model = new ParaFormer({ ...CONFIG, branches: 3, branchDepth: 1 })
    const arena = holdArenas('test', model.parameters())[0]!
    const whole: number[] = []
    const before = device.memory.liveBytes
    const { dispatch } = device
    device.dispatch = (spec, problem, ...rest) => {
      const { to, rows, inner } = problem as { to?: string; rows: number; inner: number }
      if (spec.name === 'copy' && to === 'f16') whole.push(rows * inner)
      dispatch.call(device, spec, problem, ...rest)
    }
    try {
      scope(() =>
        autocast('float16', () => {
          for (const value of [loss(model), loss(model)]) backward(value)
        }),
      )
    } finally {
      device.dispatch = dispatch
    }
    if (whole.filter((count) => count === arena.length).length !== 1) throw new Error(`casts of ${whole} elements`)
    zeroGrad(arena.parameters)
    if (device.memory.liveBytes !== before) throw new Error(`${device.memory.liveBytes - before} bytes are left`)
  })

  test('captured steps give the bits of eager ones, coalesced ones too', async () => {
    const model = new ParaFormer({ ...CONFIG, branches: 3, branchDepth: 1 })
    holdArenas('test', model.parameters())
    const logits = (mode: 'serial' | 'coalesced') => (images: Tensor) =>
      noGrad(() => autocast('float16', () => model.forward(images, { mode })))
    const want = await logits('serial')(images).data()
    for (const mode of ['serial', 'coalesced'] as const) {
      const captured = capture(logits(mode))
      for (let i = 0; i < 2; i++) {
        const got = await captured(images).data()
        if (mode === 'serial' ? `${got}` !== `${want}` : !(relativeError(got, want) <= 1e-3)) throw new Error(`${mode} ${i}`)
      }
      captured.dispose()
    }
  })

  test('types meet as float32; what computes in float32 casts inside alone', async () => {
    const [half, single] = [tensor([0.5, 2], { dtype: 'float16' }), tensor([1, 2 ** -20])]
    const [sum, both] = autocast('float16', () => [add(half, single), concat([half, single], 0)])
    if (sum.dtype !== 'float32' || `${await sum.data()}` !== `${[1.5, 2 + 2 ** -20]}`) throw new Error(`${await sum.data()}`)
    if (both.dtype !== 'float32' || `${await both.data()}` !== `${[0.5, 2, 1, 2 ** -20]}`)
      throw new Error(`${await both.data()}`)
    const ones = tensor([1, 1])
    const made = autocast('float16', () => [
      softmax(half, 0),
      layerNorm(half, ones, ones),
      rmsNorm(half, ones),
      groupNorm(half.reshape([1, 2]), 1, ones, ones),
      mseLoss(half, ones),
      add(half, half),
      matmul(single, single),
      maximum(half, half),
      maximum(half, single),
    ])
    const dtypes = made.map(({ dtype }) => dtype).join()
    if (dtypes !== 'float32,float32,float32,float32,float32,float16,float16,float16,float32') throw new Error(dtypes)
    const off = autocast('float16', () => autocast('float32', () => matmul(single, single)))
    if (off.dtype !== 'float32') throw new Error(`switched off it gives ${off.dtype}`)
    if (matmul(single, single).dtype !== 'float32') throw new Error('it goes on behind its end')
  })

  test('dropout, extrema and running sums take what a product gives', () => {
    const [x, w] = [tensor([[1, 2]]), tensor([[3, 4]])]
    const found = autocast('float16', () => {
      const y = linear(x, w)
      return [y.dropout(0.5), y.max(), y.min(1), y.cumsum(0)]
    })
    if (found.some(({ dtype }) => dtype !== 'float32')) throw new Error(found.join())
    if (autocast('float16', () => linear(x, w).argmax()).dtype !== 'int32') throw new Error('argmax')
  })

  test('replays of a capture inside it see parameters that changed, whatever ran before and after', async () => {
    const [x, w] = [tensor([[1, 2]]), tensor([[3, 4]], { requiresGrad: true })]
    const results = autocast('float16', () => {
      const captured = capture((on: Tensor) => noGrad(() => linear(on, w)))
      const read = () => captured(x).data()
      const eager = noGrad(() => linear(x, w)).data()
      const first = read()
      const after = noGrad(() => linear(x, w)).data()
      w.write(Float32Array.of(5, 6))
      return [eager, first, after, read()]
    })
    const values = (await Promise.all(results)).map(([value]) => value)
    if (values.join() !== '11,11,11,17') throw new Error(values.join())
  })
} else {
  test('without shader-f16 the first product says so', () => {
    const [x, w] = [tensor([[1, 2]]), tensor([[3, 4]])]
    throws(() => autocast('float16', () => linear(x, w)), /^linear needs shader-f16, this device has none/)
  })
}

test('asynchronous functions are refused', () => {
  throws(() => autocast('float16', async () => {}), /autocast: the function is asynchronous/)
})

test('ends', () => device.destroy())
run()
