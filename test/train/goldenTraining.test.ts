import { requestDevice, tensor, UserError } from '../../engine/index.ts'
import { createModel, MODES, type Mode, parseConfig } from '../../model/index.ts'
import { loadSafetensors, toFloat32 } from '../../train/checkpoint/files.ts'
import { AdamW } from '../../train/optim/adamW.ts'
import { captureStep, makeScheme, optimizerStep, type SchemeName } from '../../train/schemes/index.ts'
import { assertClose } from '../harness/errors.ts'
import { quick, suite } from '../harness/suite.ts'

interface Hyperparameters {
  lr: number
  betas: [number, number]
  eps: number
  weightDecay: number
  maxNorm: number
  prefixWeights: number[]
}

const STEPS = 10
const device = await requestDevice()
const { test, run } = suite('training against PyTorch')

for (const name of ['joint', 'prefixSum', 'paper'] satisfies SchemeName[]) {
  // Each of the ten steps of `paper` is several optimizer steps, so npm test takes it whole.
  for (const parts of name === 'paper' && quick ? [1] : [1, 3]) {
    test(`${name}, mini-batches in ${parts} part${parts > 1 ? 's' : ''}`, () => follow(name, parts))
  }
  for (const mode of MODES) test(`${name}, captured, ${mode}`, () => follow(name, 1, mode))
}

/** Takes the stored steps, and compares losses, gradient norms and final parameters. With a mode, the steps are captured. */
async function follow(name: SchemeName, parts: number, mode?: Mode): Promise<void> {
  const file = await loadSafetensors(`test/golden/training-${name}.safetensors`)
  const golden = (key: string) => {
    const entry = file.tensors.get(key)
    if (!entry) throw new UserError(`golden file lacks ${key}`)
    return entry
  }
  const training = JSON.parse(file.metadata.training!) as Hyperparameters
  const model = createModel(parseConfig(file.metadata.config!))
  const params = [...file.tensors].filter(([key]) => key.startsWith('params.'))
  model.loadStateDict(new Map(params.map(([key, entry]) => [key.slice('params.'.length), entry])))
  const { betas, eps, weightDecay } = training
  const optimizer = new AdamW(model.namedParameters(), { betas, eps, weightDecay })
  const images = golden('images')
  const labels = golden('labels')
  const [, B = 0, ...rest] = images.shape
  const pixels = rest.reduce((product, dim) => product * dim, 1)
  const size = Math.ceil(B / parts)
  const scheme = makeScheme(name, file.metadata.config!.includes('branches') ? JSON.parse(file.metadata.config!).branches : 1, {
    weights: training.prefixWeights,
    mode: mode ?? 'serial',
  })

  const steps = new Map(
    scheme.passes.flat().map((objective) => [objective, mode && captureStep(model, optimizer, objective, training.maxNorm)]),
  )
  const losses: number[][][] = []
  const norms: number[][][] = []
  for (const objectives of scheme.passes) {
    const passLosses: number[][] = []
    const passNorms: number[][] = []
    for (let step = 0; step < STEPS; step++) {
      const batches = Array.from({ length: Math.ceil(B / size) }, (_, i) => {
        const [from, to] = [step * B + i * size, step * B + Math.min(B, (i + 1) * size)]
        return {
          images: tensor(toFloat32(images).subarray(from * pixels, to * pixels), { shape: [to - from, ...rest] }),
          labels: tensor(Int32Array.from(labels.data as Int32Array).subarray(from, to)),
          share: (to - from) / B,
        }
      })
      const stepLosses: number[] = []
      const stepNorms: number[] = []
      for (const objective of objectives) {
        const result =
          steps.get(objective)?.(batches, training.lr) ??
          optimizerStep(model, optimizer, objective, batches, training.lr, training.maxNorm)
        stepLosses.push(...(await result.losses.data()))
        stepNorms.push(await result.norm.item())
      }
      passLosses.push(stepLosses)
      passNorms.push(stepNorms)
    }
    losses.push(passLosses)
    norms.push(passNorms)
  }

  const compare = (values: number[][], key: string, tolerance: number) =>
    assertClose(values.flat(), Array.from(golden(key).data as Float64Array), tolerance, key)
  if (name === 'paper') {
    compare(losses[0]!, 'passA', 1e-4)
    compare(losses[1]!, 'passB', 1e-4)
    compare(norms[0]!, 'passA.gradNorms', 1e-3)
    compare(norms[1]!, 'passB.gradNorms', 1e-3)
  } else {
    compare(losses[0]!, 'losses', 1e-4)
    compare(norms[0]!, 'gradNorms', 1e-3)
  }
  for (const [key, parameter] of model.namedParameters()) {
    assertClose(await parameter.data(), golden(`final.${key}`).data as Float64Array, 1e-3, `final.${key}`)
  }
}

test('the device ends', () => device.destroy())
run()
