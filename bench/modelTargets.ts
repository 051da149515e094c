import { crossEntropy, defaultDevice, noGrad, randn, type Tensor, tensor } from '../engine/index.ts'
import { countFlops, createModel, type Model, type ModelConfig, ParaFormer } from '../model/index.ts'
import { Attention, EncoderLayer, Mlp } from '../model/layers.ts'
import type { Module } from '../model/module.ts'
import {
  AdamW,
  captureStep,
  type MicroBatch,
  makeScheme,
  optimizerStep,
  type SchemeName,
  type StepResult,
} from '../train/index.ts'
import { PRESETS } from '../train/presets.ts'
import type { Objective } from '../train/schemes/index.ts'
import { checkSettings, modelConfigOf } from '../train/settings.ts'
import { checkComputed, type Outputs } from './outputs.ts'
import { executedBy, type Replayed, replayed } from './replayed.ts'
import { normDifference } from './statistics.ts'
import { type Target, within } from './target.ts'
import { checkReplay, Training } from './training.ts'
import { LEARNING_RATE } from './workloads.ts'

/** Largest norm-relative difference of a replay from the same ops run one by one, which give the same bits on most drivers. */
const REPLAY_TOLERANCE = 1e-6

/** Images and classes of the presets' data sets. */
export const IMAGES: Record<string, { height: number; width: number; channels: number; classes: number }> = {
  mnist: { height: 28, width: 28, channels: 1, classes: 10 },
  'cifar-10': { height: 32, width: 32, channels: 3, classes: 10 },
}

/** Returns the model config of a preset. */
function presetConfig(preset: string, architecture: 'paraformer' | 'vit'): ModelConfig {
  const settings = checkSettings({ ...PRESETS[preset]!.settings, architecture, scheme: 'joint' })
  return modelConfigOf(settings, IMAGES[settings.dataset]!)
}

/** Returns the default number of images in a batch. */
export function defaultBatch(software: boolean): number {
  return software ? 2 : 64
}

/** Makes targets for single layers at the sizes of each preset: forward passes, and training steps with plain SGD. */
export function layerTargets(batch: number): Target[] {
  return Object.keys(PRESETS).flatMap((preset) => {
    const config = presetConfig(preset, 'paraformer')
    return (['attention', 'mlp', 'encoderLayer'] as const).flatMap((name) =>
      (['forward', 'step'] as const).map((variant) => layerTarget(preset, config, batch, name, variant)),
    )
  })
}

function layerTarget(
  preset: string,
  config: ModelConfig,
  batch: number,
  name: 'attention' | 'mlp' | 'encoderLayer',
  variant: 'forward' | 'step',
): Target {
  const { dim, heads, dimHead, mlpDim, imageSize, patchSize } = config
  const tokens = (imageSize / patchSize) ** 2 + 1
  const rows = batch * tokens
  const attention = 8 * rows * dim * heads * dimHead + 4 * rows * tokens * heads * dimHead
  const mlp = 4 * rows * dim * mlpDim
  const forward = { attention, mlp, encoderLayer: attention + mlp }[name]
  // A step needs no gradient of the layer's input, so the products that would compute it are not counted.
  const spared = { attention: 6 * rows * dim * heads * dimHead, mlp: 2 * rows * dim * mlpDim, encoderLayer: 0 }[name]
  return {
    group: 'layers',
    name,
    family: 'layers',
    variant,
    shape: `${preset} [${batch}, ${tokens}, ${dim}]`,
    flops: variant === 'step' ? 3 * forward - spared : forward,
    bytes: 0,
    single: false,
    unit: 'vector',
    prepare() {
      const x = randn([batch, tokens, dim])
      const { module, run } = makeLayer(name, config)
      // In a mean square every element has a gradient of its own.
      const loss = () => run(x).pow(2).mean()
      const training = new Training({ parameters: module.namedParameters(), loss })
      const forward = replayed(() => noGrad(() => run(x)))
      const what = `${name} ${preset}`
      let afterwards: Afterwards | undefined
      return {
        ...(variant === 'step' ? training.run : forward),
        async check() {
          if (variant === 'forward') {
            afterwards = await checkForward(what, forward)
            return afterwards.difference
          }
          // The check of the gradient leaves rounded parameters, and that of replays the ones that it found.
          const difference = await training.checkGradient(what)
          afterwards = { difference, again: await training.checkReplay(what) }
          return afterwards.difference
        },
        async confirm(values) {
          checkComputed(values)
          await afterwards?.again()
        },
        dispose() {
          forward.dispose()
          training.dispose()
          x.dispose()
        },
      }
    },
  }
}

function makeLayer(
  name: 'attention' | 'mlp' | 'encoderLayer',
  config: ModelConfig,
): { module: Module; run(x: Tensor): Tensor } {
  const { dim, heads, dimHead, mlpDim } = config
  if (name === 'attention') {
    const module = new Attention(dim, heads, dimHead)
    return { module, run: (x) => module.forward(x, x) }
  }
  if (name === 'mlp') {
    const module = new Mlp(dim, mlpDim)
    return { module, run: (x) => module.forward(x, x) }
  }
  const module = new EncoderLayer(config)
  return { module, run: (x) => module.forward(x) }
}

/** Makes targets for the models of the presets: forward passes, and the training steps of `paraformer train`. */
export function modelTargets(batch: number): Target[] {
  return Object.keys(PRESETS).flatMap((preset) =>
    (['paraformer', 'vit'] as const).flatMap((architecture) => {
      const config = presetConfig(preset, architecture)
      const schemes: SchemeName[] = architecture === 'paraformer' ? ['joint', 'prefixSum'] : ['joint']
      return [modelTarget(preset, config, batch), ...schemes.map((scheme) => modelTarget(preset, config, batch, scheme))]
    }),
  )
}

/** @param scheme the scheme of the training step; without one the forward pass is timed */
function modelTarget(preset: string, config: ModelConfig, batch: number, scheme?: SchemeName): Target {
  const { channels, imageSize, classes, architecture } = config
  const { forward, training } = countFlops(config)
  return {
    group: 'models',
    name: architecture,
    variant: scheme ? `step ${scheme}` : 'forward',
    shape: `${preset} batch ${batch}`,
    flops: batch * (scheme ? training : forward),
    bytes: 0,
    single: false,
    unit: 'vector',
    prepare() {
      const model = createModel(config)
      const optimizer = new AdamW(model.namedParameters())
      const images = randn([batch, channels, imageSize, imageSize])
      const labels = tensor(Int32Array.from({ length: batch }, (_, i) => i % classes))
      // This is the mode that a user would take without measuring.
      const mode = architecture === 'paraformer' ? 'coalesced' : 'serial'
      const loss = () => crossEntropy(model.forward(images, { mode }), labels)
      const training = new Training({ parameters: model.namedParameters(), loss, optimizer })
      const forward = replayed(() => noGrad(() => model.forward(images, { mode })))
      const branches = model instanceof ParaFormer ? model.config.branches : 1
      const step =
        scheme &&
        trainingStep(model, optimizer, makeScheme(scheme, branches, { mode }).passes[0]![0]!, { images, labels, share: 1 })
      const what = `${architecture} ${preset}`
      let afterwards: Afterwards | undefined
      return {
        ...(step ?? forward),
        async check() {
          if (!step) {
            afterwards = await checkForward(what, forward)
            return afterwards.difference
          }
          // With dropout no two losses would be the same.
          model.eval()
          const difference = await training.checkGradient(what)
          model.train()
          afterwards = { difference, again: await checkReplay(what, step, model.parameters()) }
          return afterwards.difference
        },
        async confirm(values) {
          checkComputed(values)
          await afterwards?.again()
        },
        dispose() {
          step?.dispose()
          forward.dispose()
          training.dispose()
          images.dispose()
          labels.dispose()
        },
      }
    },
  }
}

/** Makes the captured step of `paraformer train` on one batch; its outputs are the losses and the gradient's norm. */
function trainingStep(model: Model, optimizer: AdamW, objective: Objective, batch: MicroBatch): Replayed {
  const step = captureStep(model, optimizer, objective, 1)
  const outputs = ({ losses, predicted, norm }: StepResult): Outputs => {
    // The predicted classes may all be 0, which `checkComputed` would refuse.
    predicted.dispose()
    return [losses, norm]
  }
  return {
    record: () => outputs(step([batch], LEARNING_RATE)),
    ops: () => outputs(optimizerStep(model, optimizer, objective, [batch], LEARNING_RATE, 1)),
    executed: () => executedBy(step),
    dispose: step.dispose,
  }
}

/** The result of a check: the norm-relative difference, and a check for after further runs. */
interface Afterwards {
  difference: number
  again(): Promise<void>
}

/**
 * Compares replays of a forward pass with its ops run one by one, with the same random numbers.
 * @throws Error unless their values agree
 */
async function checkForward(what: string, { ops, record }: Replayed): Promise<Afterwards> {
  const { random } = defaultDevice()
  const { counter } = random
  const result = async ([output]: Outputs): Promise<ArrayLike<number>> => {
    const values = await output.data()
    output.dispose()
    random.counter = counter
    return values
  }
  const expected = await result(ops())
  checkComputed([expected])
  const replay = async () =>
    within(normDifference(await result(record()), expected), REPLAY_TOLERANCE, `${what}: a replayed forward pass`)
  // The first run is captured, and the second is a replay.
  const difference = Math.max(await replay(), await replay())
  return {
    difference,
    async again() {
      random.counter = counter
      await replay()
    },
  }
}
