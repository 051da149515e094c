import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dependencies } from '../../bench/peers/package.json'
import { exportOnnx, importViT, ParaFormer, randn, requestDevice } from '../../train/index.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
device.random.seed = 5
const { test, run } = suite('ONNX files in ONNX Runtime')

const PROGRAM = `
import { readFileSync } from 'node:fs'
import * as ort from 'onnxruntime-web'
ort.env.wasm.numThreads = 1
for (const name of process.argv.slice(2)) {
  const { shape, data, logits } = JSON.parse(readFileSync(name + '.json', 'utf8'))
  const session = await ort.InferenceSession.create(name + '.onnx')
  const { logits: found } = await session.run({ images: new ort.Tensor('float32', Float32Array.from(data), shape) })
  const norm = (values) => Math.hypot(...values)
  console.log(norm(Array.from(found.data, (value, i) => value - logits[i])) / norm(logits))
}
`

test('the runtime gives the logits of the models', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-ort-'))
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  writeFileSync(join(folder, 'main.mjs'), PROGRAM)
  const version = dependencies['onnxruntime-web']
  const command = ['install', '--no-audit', '--no-fund', '--ignore-scripts', `onnxruntime-web@${version}`]
  const installed = spawnSync('npm', command, { cwd: folder, encoding: 'utf8' })
  if (installed.status !== 0) throw new Error(installed.stderr)
  const small = { imageSize: 28, patchSize: 7, channels: 1, dim: 32, heads: 2, dimHead: 16, mlpDim: 64 }
  const models = {
    prefix: [new ParaFormer({ ...small, branches: 3, branchDepth: 2 }), 2],
    mean: [new ParaFormer({ ...small, branches: 2, branchDepth: 1, pool: 'mean' }), 2],
    imported: [await importViT('test/golden/vit'), 1],
  } as const
  for (const [name, [model, branches]] of Object.entries(models)) {
    const { channels, imageSize } = model.config
    const images = randn([3, channels, imageSize, imageSize])
    const logits = await model.forward(images, { branches }).data()
    const answer = { shape: images.shape, data: [...(await images.data())], logits: [...logits] }
    writeFileSync(join(folder, `${name}.json`), JSON.stringify(answer))
    await exportOnnx(join(folder, `${name}.onnx`), model, { branches })
  }
  const { status, stdout, stderr } = spawnSync('node', ['main.mjs', ...Object.keys(models)], { cwd: folder, encoding: 'utf8' })
  rmSync(folder, { recursive: true })
  const errors = stdout.trim().split('\n').map(Number)
  if (status !== 0 || errors.length !== 3 || !errors.every((error) => error < 1e-5)) throw new Error(stdout + stderr)
})

run()
