import { equal } from 'uvu/assert'
import { files } from '#platform'
import { crossEntropy, requestDevice, scope, type Tensor, tensor } from '../../engine/index.ts'
import { createModel, type Model, ParaFormer, parseConfig, type ViT } from '../../model/index.ts'
import { decodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('models against PyTorch')
const device = await requestDevice()

/** Largest norm-relative error against float64. */
const TOLERANCE = 1e-4

/** Loads a stored model, whose content test/golden/generate.py describes. */
async function load(name: string) {
  const path = `test/golden/${name}.safetensors`
  const { tensors, metadata } = decodeSafetensors(await files.read(path), path)
  const values = (key: string) => tensors.get(key)!.data as Float64Array
  const under = (prefix: string) => {
    const found = [...tensors].filter(([key]) => key.startsWith(prefix))
    return new Map(found.map(([key, entry]) => [key.slice(prefix.length), entry]))
  }
  const { data, shape } = tensors.get('images')!
  return {
    config: parseConfig(metadata.config!),
    images: tensor(data as Float32Array, { shape }),
    labels: tensor(tensors.get('labels')!.data as Int32Array),
    values,
    under,
  }
}

type Golden = Awaited<ReturnType<typeof load>>

async function check(actual: Tensor, golden: Golden, key: string): Promise<void> {
  assertClose(await actual.data(), golden.values(key), TOLERANCE, key)
  actual.dispose()
}

/** Compares the gradient of every parameter, including that some parameters have none; then clears the gradients. */
async function checkGradients(model: Model, golden: Golden, prefix: string): Promise<void> {
  const reached = model.namedParameters().filter(([, { grad }]) => grad)
  const expected = golden.under(`${prefix}.grad.`)
  equal(reached.map(([name]) => name).sort(), [...expected.keys()].sort())
  for (const [name, parameter] of reached) {
    await check(parameter.grad!, golden, `${prefix}.grad.${name}`)
    parameter.grad = undefined
  }
}

for (const architecture of ['paraformer', 'vit']) {
  for (const residual of ['paper', 'preNorm']) {
    for (const pool of ['cls', 'mean']) {
      const name = `${architecture}-${residual}-${pool}`
      const golden = await load(name)
      const { config, images, labels } = golden
      const model = createModel(config) as ParaFormer | ViT
      model.loadStateDict(golden.under('params.'))

      for (const skipDeadTokens of pool === 'cls' ? [true, false] : [true]) {
        const how = `${name}${skipDeadTokens ? '' : ' without skipping'}`

        for (let k = 1; k <= model.branches.length; k++) {
          test(`${how}, prefix ${k}`, async () => {
            const { features, logits, loss } = scope(() => {
              const features = model.features(images, { branches: k, skipDeadTokens })
              const logits = model.head.forward(features)
              const loss = crossEntropy(logits, labels)
              loss.backward()
              return { features, logits, loss }
            })
            await check(features, golden, `prefix${k}.features`)
            await check(logits, golden, `prefix${k}.logits`)
            await check(loss, golden, `prefix${k}.loss`)
            await checkGradients(model, golden, `prefix${k}`)
          })
        }

        if (!(model instanceof ParaFormer)) continue
        test(`${how}, sum of all prefix losses from one pass`, async () => {
          const { losses, sum } = scope(() => {
            const logits = model.forwardPrefixes(images, { skipDeadTokens }) // [m, B, classes]
            const [, B, classes] = logits.shape as [number, number, number]
            const losses = model.branches.map((_, k) => crossEntropy(logits.slice([[k, k + 1]]).reshape([B, classes]), labels))
            const sum = losses.reduce((total, loss) => total.add(loss))
            sum.backward()
            return { losses, sum }
          })
          for (const [i, loss] of losses.entries()) await check(loss, golden, `prefix${i + 1}.loss`)
          await check(sum, golden, 'prefixSum.loss')
          await checkGradients(model, golden, 'prefixSum')
        })
      }
    }
  }
}

test('ends', () => device.destroy())

run()
