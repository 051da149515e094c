import { type Arm, defineStudy, type Settings, STUDY_PRESETS, withParametersOf } from 'paraformer'

const layersOf = ({ branches = 1, branchDepth = 1 }: Partial<Settings>) => branches * branchDepth

/** A ViT of as many layers as all branches have together, which has the same parameters. */
const vit = (more: Partial<Settings>) => (preset: Partial<Settings>) =>
  ({ architecture: 'vit', depth: layersOf(preset), scheme: 'joint', ...more }) as const

/** One layer with the heads of all layers; its MLP makes up for what is left (arXiv 2210.00640). */
const wide = (preset: Partial<Settings>) => {
  const heads = (preset.heads ?? 1) * layersOf(preset)
  return withParametersOf({ ...preset, architecture: 'vit', depth: 1, heads, scheme: 'joint', residual: 'preNorm' }, preset)
}

/** As many small ViTs as there are branches, as deep as those, each with a stem and a head of its own, for which its MLPs are narrower. */
const ensemble = (preset: Partial<Settings>) => {
  const { branches: members = 1, branchDepth: depth = 1, maxNorm = 1 } = preset
  // Members learn alone, and the gradient of all of them together is clipped.
  const alone = { scheme: 'independent', maxNorm: maxNorm * Math.sqrt(members) } as const
  return withParametersOf({ ...preset, architecture: 'ensemble', members, depth, residual: 'preNorm', ...alone }, preset)
}

/** The same arm, trained for as many operations as the ParaFormer. */
const atFlops = ({ description, settings }: Arm): Arm => ({
  description: `${description}, at the operations of the ParaFormer`,
  settings,
  budget: { equal: 'flops', to: 'paraformer' },
})

const baselines = {
  vit: { description: 'serial ViT, textbook residual', settings: vit({ residual: 'preNorm' }) },
  vitPaper: { description: "serial ViT, the paper's residual", settings: vit({ residual: 'paper' }) },
  everyLayer: {
    description: 'serial ViT, textbook residual, with a loss at every layer through one head (deep supervision)',
    settings: vit({ residual: 'preNorm', scheme: 'everyLayer' }),
  },
  wide: { description: 'ViT of one wide layer, textbook residual', settings: wide },
  ensemble: { description: 'independent small ViTs, textbook residual, logits averaged', settings: ensemble },
} satisfies Record<string, Arm>

/**
 * Is ParaFormer better than a ViT? All arms have the same parameters, and the same number of tuning trials on validation images. Serial
 * ViTs cost more operations an image, so that each arm is compared at equal images and at equal operations.
 */
export default defineStudy({
  id: 'vit',
  hypothesis: 'ParaFormer is more accurate than a tuned ViT of the same parameters, at equal images and at equal FLOPs.',
  prediction:
    "It beats the ViT with the paper's residual, and comes within a point of the one with the textbook's, of the wide ViT and of the ensemble.",
  metric: 'testAccuracy',
  budget: 'parameters',
  baseline: 'paraformer',
  decisionRule: [
    { claim: "ParaFormer beats a ViT with the paper's residual.", compare: ['paraformerPaper', 'vitPaper'], better: 'higher' },
    { claim: 'ParaFormer beats a ViT with the textbook residual.', compare: ['paraformer', 'vit'], better: 'higher' },
    {
      claim: 'ParaFormer beats every baseline of its parameters.',
      compare: ['paraformer', 'everyLayer'],
      better: 'higher',
    },
    { claim: 'ParaFormer beats every baseline of its parameters.', compare: ['paraformer', 'wide'], better: 'higher' },
    { claim: 'ParaFormer beats every baseline of its parameters.', compare: ['paraformer', 'ensemble'], better: 'higher' },
    { claim: 'ParaFormer beats every baseline of its parameters.', compare: ['paraformer', 'vit'], better: 'higher' },
    { claim: 'At equal FLOPs ParaFormer beats every baseline.', compare: ['paraformer', 'vitAtFlops'], better: 'higher' },
    {
      claim: 'At equal FLOPs ParaFormer beats every baseline.',
      compare: ['paraformer', 'everyLayerAtFlops'],
      better: 'higher',
    },
    { claim: 'At equal FLOPs ParaFormer beats every baseline.', compare: ['paraformer', 'wideAtFlops'], better: 'higher' },
    { claim: 'At equal FLOPs ParaFormer beats every baseline.', compare: ['paraformer', 'ensembleAtFlops'], better: 'higher' },
    {
      claim: "At equal FLOPs ParaFormer beats a ViT with the paper's residual.",
      compare: ['paraformerPaper', 'vitPaperAtFlops'],
      better: 'higher',
    },
  ],
  arms: {
    paraformer: {
      description: 'ParaFormer, textbook residual, sum of all prefix losses',
      settings: { scheme: 'prefixSum', residual: 'preNorm' },
    },
    paraformerPaper: {
      description: "ParaFormer, the paper's residual, sum of all prefix losses",
      settings: { scheme: 'prefixSum', residual: 'paper' },
    },
    ...baselines,
    vitAtFlops: atFlops(baselines.vit),
    vitPaperAtFlops: atFlops(baselines.vitPaper),
    everyLayerAtFlops: atFlops(baselines.everyLayer),
    wideAtFlops: atFlops(baselines.wide),
    ensembleAtFlops: atFlops(baselines.ensemble),
  },
  seeds: [1, 2, 3, 4, 5],
  tuning: { trials: 3, space: { lr: { low: 5e-4, high: 8e-3, log: true } } },
  // Arms at equal FLOPs take as few as 244 steps in `tiny`, of which the warm-up must not be a large part.
  presets: { ...STUDY_PRESETS, tiny: { ...STUDY_PRESETS.tiny, warmup: 25 } },
})
