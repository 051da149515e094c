import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { is, ok } from 'uvu/assert'
import { requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import { createModel } from '../../model/index.ts'
import { decodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { AdamW } from '../../train/optim/adamW.ts'
import { decays } from '../../train/optim/groups.ts'
import { captureStep, makeScheme } from '../../train/schemes/index.ts'
import { ReferenceAdamW } from '../harness/adamW.ts'
import { normals } from '../harness/checkOp.ts'
import { runCli } from '../harness/cli.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
// Bindings of lavapipe's size, on every device.
device.bindingBytes = Math.min(device.bindingBytes, 128 << 20)
const { test, run } = suite('a model larger than a binding')

/** ViT-Base: 86 M parameters, 344 MB. */
const VIT_BASE = { dim: 768, heads: 12, dimHead: 64, mlpDim: 3072, depth: 12 }
const LR = 1e-3

/** Reads tensors one after the other, so that the device holds only one copy at a time. */
async function read(tensors: readonly Tensor[]): Promise<Float32Array[]> {
  const values: Float32Array[] = []
  for (const t of tensors) values.push((await t.data()) as Float32Array)
  return values
}

test('captured steps of ViT-Base are those of float64, clipped by the norm over all arenas', async () => {
  const model = createModel({
    architecture: 'vit',
    imageSize: 32,
    patchSize: 16,
    channels: 3,
    classes: 10,
    dropout: 0,
    ...VIT_BASE,
  })
  const named = model.namedParameters()
  const parameters = named.map(([, parameter]) => parameter)
  ok(parameters.reduce((sum, { size }) => sum + size, 0) > 85e6)
  const optimizer = new AdamW(named)
  is(new Set(parameters.map(({ storage }) => storage)).size, 3)
  const step = captureStep(model, optimizer, makeScheme('joint', 1).passes[0]![0]!, 1)
  const batch = [{ images: tensor(normals(3072, 1), { shape: [1, 3, 32, 32] }), labels: tensor(Int32Array.of(3)), share: 1 }]
  const before = await read(parameters)
  const gradients: Float32Array[][] = []
  const factors: number[] = []
  const losses: number[] = []
  for (let i = 0; i < 2; i++) {
    const result = step(batch, LR)
    const [norm, loss] = await Promise.all([result.norm.item(), result.losses.item()])
    losses.push(loss)
    // The slots hold the gradients of the last backward pass.
    const found = await read(parameters.map(({ gradSlot }) => gradSlot!))
    let squares = 0
    for (const gradient of found) for (const value of gradient) squares += value * value
    assertClose([norm], [Math.sqrt(squares)], 1e-5, `norm of step ${i}`)
    factors.push(Math.min(1, 1 / (Math.sqrt(squares) + 1e-6)))
    gradients.push(found)
  }
  ok(losses[1]! < losses[0]!, `losses ${losses}`)
  ok(factors[0]! < 1, 'nothing was clipped')
  const after = await read(parameters)
  for (const [k, [name, parameter]] of named.entries()) {
    const want = Float64Array.from(before[k]!)
    const reference = new ReferenceAdamW(parameter.size, { decay: decays(name, parameter) ? 0.05 : 0 })
    for (const [i, factor] of factors.entries()) reference.step(want, gradients[i]![k]!, LR, factor)
    // Compares the changes by a step. Where a gradient is nothing but rounding, even its sign is arbitrary.
    const moved = want.map((value, at) => value - before[k]![at]!)
    assertClose(
      after[k]!.map((value, at) => value - before[k]![at]!),
      moved,
      1e-3,
      name,
    )
  }
  step.dispose()
  optimizer.dispose()
  model.dispose()
  device.trim()
})

test('the command line trains it, saves it and goes on with the same bits', async () => {
  const work = mkdtempSync(join(tmpdir(), 'paraformer-large-'))
  try {
    const sizes = [
      '--architecture',
      'vit',
      '--dim',
      '768',
      '--heads',
      '12',
      '--dim-head',
      '64',
      '--mlp-dim',
      '3072',
      '--depth',
      '12',
    ]
    const few = [
      '--patch-size',
      '14',
      '--batch-size',
      '1',
      '--train-images',
      '8',
      '--test-images',
      '2',
      '--seed',
      '3',
      '--tune',
      'off',
    ]
    const train = async (folder: string, ...more: string[]) => {
      const { code, stderr } = await runCli(['train', ...more])
      if (code !== 0) throw new Error(stderr)
      const path = join(work, folder, 'checkpoint.safetensors')
      const { tensors } = decodeSafetensors(readFileSync(path), path)
      const hash = createHash('sha256')
      for (const [name, { data }] of tensors) {
        hash.update(name)
        hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
      }
      return { hash: hash.digest('hex'), names: [...tensors.keys()] }
    }
    const out = (folder: string) => ['--out', join(work, folder)]
    const straight = await train('straight', ...sizes, ...few, '--max-steps', '3', ...out('straight'))
    await train('broken', ...sizes, ...few, '--max-steps', '2', ...out('broken'))
    const resumed = await train('broken', '--resume', join(work, 'broken'), '--max-steps', '3')
    is(resumed.hash, straight.hash)
    ok(straight.names.includes('optimizer.v.branches.0.layers.11.mlp.fc2.weight'))
  } finally {
    rmSync(work, { recursive: true })
  }
})

test('ends', () => device.destroy())
run()
