import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onnxGraph } from '../../train/exchange/onnxGraph.ts'
import { Ensemble, exportOnnx, importViT, ParaFormer, randn, requestDevice, ViT } from '../../train/index.ts'
import { saveModel } from '../../train/run/checkpoint.ts'
import { expectUserError, runHere } from '../harness/cli.ts'
import { assertClose } from '../harness/errors.ts'
import { ndarray } from '../harness/ndarray.ts'
import { runOnnx } from '../harness/onnxRuntime.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
device.random.seed = 5
const { test, run } = suite('ONNX export')
const folder = mkdtempSync(join(tmpdir(), 'paraformer-onnx-'))

const sizes = { imageSize: 6, patchSize: 3, channels: 2, dim: 8, heads: 2, dimHead: 3, mlpDim: 12, classes: 3 }
const MODELS: Record<string, [model: ParaFormer | ViT | Ensemble, branches: number]> = {
  'all branches': [new ParaFormer({ ...sizes, branches: 2, branchDepth: 2 }), 2],
  'a prefix': [new ParaFormer({ ...sizes, branches: 3, branchDepth: 1 }), 2],
  'mean pooling': [new ParaFormer({ ...sizes, branches: 2, branchDepth: 1, pool: 'mean', residual: 'preNorm' }), 2],
  'a ViT with biases': [new ViT({ ...sizes, depth: 2, qkvBias: true, normEps: 1e-3 }), 1],
  'an ensemble': [new Ensemble({ ...sizes, members: 2, depth: 1 }), 2],
  'an imported ViT': [await importViT('test/golden/vit'), 1],
}

for (const [name, [model, branches]] of Object.entries(MODELS)) {
  test(`${name}: the graph computes the model's logits`, async () => {
    const { channels, imageSize } = model.config
    const images = randn([2, channels, imageSize, imageSize])
    const entries = Object.entries(model.stateDict()).map(async ([name, t]) => {
      return [name, { shape: t.shape, data: await t.data<Float32Array>() }] as const
    })
    const graph = onnxGraph(model.config, new Map(await Promise.all(entries)), branches)
    const outputs = runOnnx(graph, ndarray(await images.data(), images.shape))
    const logits = outputs.get('logits')!
    if (`${logits.shape}` !== `2,${model.config.classes}`) throw new Error(`${logits.shape}`)
    assertClose(await model.forward(images, { branches }).data(), logits.data, 1e-5, 'logits')
    if (model instanceof Ensemble) return
    assertClose(await model.features(images, { branches }).data(), outputs.get('features')!.data, 1e-5, 'features')
  })
}

test('export writes a prefix of a checkpoint, without more than its weights', async () => {
  const [model] = MODELS['a prefix']!
  const [checkpoint, output] = [join(folder, 'model.safetensors'), join(folder, 'model.onnx')]
  await saveModel(checkpoint, model, { dataset: 'images', mean: [0.5, 0.5], std: [0.5, 0.5] })
  const { code, stdout } = await runHere(['export', '--checkpoint', checkpoint, '--output', output, '--branches', '1'])
  const size = readFileSync(output).length
  if (code !== 0 || !/^.*model\.onnx: images \[batch, 2, 6, 6\]/.test(stdout)) throw new Error(`${code} ${stdout}`)
  await exportOnnx(output, model, { branches: 3 })
  const all = readFileSync(output)
  // The file names its producer, and has the config as metadata.
  if (!(size < 0.7 * all.length) || !all.includes('paraformer') || !all.includes('"branchDepth":1')) throw new Error(`${size}`)
  await expectUserError(
    ['export', '--checkpoint', checkpoint, '--output', output, '--branches', '4'],
    /branches 4: this paraformer has 3/,
  )
  await expectUserError(['export', '--checkpoint', checkpoint, '--output', join(folder, 'x.pt')], /name an \.onnx file/)
  rmSync(folder, { recursive: true })
})

run()
