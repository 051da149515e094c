import { type Captured, capture, crossEntropy, noGrad, randn, type Tensor, tensor } from '../engine/index.ts'
import { countFlops, createModel, type ModelConfig, ParaFormer } from '../model/index.ts'
import { Attention, EncoderLayer, Mlp } from '../model/layers.ts'
import type { Module } from '../model/module.ts'
import { AdamW, captureStep, makeScheme, type SchemeName } from '../train/index.ts'
import { checkSettings, modelConfigOf, PRESETS } from '../train/settings.ts'
import type { Target } from './target.ts'
import { Training } from './training.ts'
import { LEARNING_RATE } from './workloads.ts'

/** What images of the data sets of the presets are. */
export const IMAGES: Record<string, { height: number; width: number; channels: number; classes: number }> = {
  mnist: { height: 28, width: 28, channels: 1, classes: 10 },
  'cifar-10': { height: 32, width: 32, channels: 3, classes: 10 },
}

/** The model of a preset. */
function presetConfig(preset: string, architecture: 'paraformer' | 'vit'): ModelConfig {
  const settings = checkSettings({ ...PRESETS[preset]!.settings, architecture, scheme: 'joint' })
  return modelConfigOf(settings, IMAGES[settings.dataset]!)
}

/** Images of a batch unless the user says otherwise. */
export function defaultBatch(software: boolean): number {
  return software ? 2 : 64
}

/** Single layers at the size of each preset, forward, and forward with backward and plain SGD. */
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
  return {
    group: 'layers',
    name,
    variant,
    shape: `${preset} [${batch}, ${tokens}, ${dim}]`,
    flops: variant === 'step' ? 3 * forward : forward,
    bytes: 0,
    single: false,
    prepare() {
      const x = randn([batch, tokens, dim])
      const { module, run } = makeLayer(name, config)
      // A mean square, so that every element has a gradient of its own.
      const loss = () => run(x).pow(2).mean()
      const training = new Training({ parameters: module.namedParameters(), loss })
      const forward = forwardOnly(() => run(x))
      return {
        record: variant === 'step' ? training.step : forward,
        check: () => training.checkGradient(`${name} ${preset}`),
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

/** Whole models of the presets: forward, and the training steps of `paraformer train`. */
export function modelTargets(batch: number): Target[] {
  return Object.keys(PRESETS).flatMap((preset) =>
    (['paraformer', 'vit'] as const).flatMap((architecture) => {
      const config = presetConfig(preset, architecture)
      const schemes: SchemeName[] = architecture === 'paraformer' ? ['joint', 'prefixSum'] : ['joint']
      return [modelTarget(preset, config, batch), ...schemes.map((scheme) => modelTarget(preset, config, batch, scheme))]
    }),
  )
}

/** @param scheme of the training step; without one the forward pass is timed */
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
    prepare() {
      const model = createModel(config)
      const optimizer = new AdamW(model.namedParameters())
      const images = randn([batch, channels, imageSize, imageSize])
      const labels = tensor(Int32Array.from({ length: batch }, (_, i) => i % classes))
      // As a user without a measurement would run them.
      const mode = architecture === 'paraformer' ? 'coalesced' : 'serial'
      const loss = () => crossEntropy(model.forward(images, { mode }), labels)
      const training = new Training({ parameters: model.namedParameters(), loss, optimizer })
      const branches = model instanceof ParaFormer ? model.config.branches : 1
      const objective = scheme && makeScheme(scheme, branches, { mode }).passes[0]![0]!
      const step = objective && captureStep(model, optimizer, objective, 1)
      const forward = forwardOnly(() => model.forward(images, { mode }))
      return {
        record: step ? () => void step([{ images, labels, share: 1 }], LEARNING_RATE) : forward,
        async check() {
          // Dropout would make every loss another.
          model.eval()
          const difference = await training.checkGradient(`${architecture} ${preset}`)
          model.train()
          return difference
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

/** A forward pass off the tape, recorded at its first call and replayed after it. */
function forwardOnly(forward: () => Tensor): Captured<[], void> {
  return capture(() => noGrad(() => void forward()))
}
