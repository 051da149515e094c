import { defineStudy, type Settings, STUDY_PRESETS } from 'paraformer'

/** Encoder layers of all branches together. */
const layersOf = ({ branches = 1, branchDepth = 1 }: Partial<Settings>) => branches * branchDepth

/** All layers side by side, in branches of one. */
const shallow = (preset: Partial<Settings>) => ({ branches: layersOf(preset), branchDepth: 1 })

/** About as many branches as layers in each. */
const square = (preset: Partial<Settings>) => {
  const layers = layersOf(preset)
  const branchDepth = 2 ** Math.floor(Math.log2(layers) / 2)
  return { branches: layers / branchDepth, branchDepth }
}

/** All layers one after the other: one branch, which is a ViT. */
const deep = (preset: Partial<Settings>) => ({ branches: 1, branchDepth: layersOf(preset) })

const preNorm = { residual: 'preNorm', scheme: 'joint' } as const
const paper = { residual: 'paper', scheme: 'joint' } as const

/**
 * Do parallel branches replace depth? The residual of the paper's code has no path for the identity, which hurts depth most, so that
 * branches against layers is crossed with both residuals. All arms but two minimize one loss on the full sum, so that only the shape
 * differs; all have the same parameters. Layers in depth cost more operations, since of a branch of one layer only the CLS row is
 * computed, so that deep models are also trained at the operations of shallow ones.
 */
export default defineStudy({
  id: 'depth',
  hypothesis:
    'Shallow parallel branches replace depth: at equal parameters, branches of one layer are at least as accurate as layers in depth.',
  prediction:
    "Branches beat depth with the paper's residual, which has no identity path, and depth beats branches with the textbook's.",
  metric: 'testAccuracy',
  budget: 'parameters',
  baseline: 'shallow',
  decisionRule: [
    {
      claim: "With the paper's residual, branches of one layer beat one branch of as many layers.",
      compare: ['shallowPaper', 'deepPaper'],
      better: 'higher',
    },
    {
      claim: 'With the textbook residual, branches of one layer beat one branch of as many layers.',
      compare: ['shallow', 'deep'],
      better: 'higher',
    },
    {
      claim: "With the paper's residual, branches beat depth at equal FLOPs.",
      compare: ['shallowPaper', 'deepPaperAtFlops'],
      better: 'higher',
    },
    {
      claim: 'With the textbook residual, branches beat depth at equal FLOPs.',
      compare: ['shallow', 'deepAtFlops'],
      better: 'higher',
    },
    {
      claim: "In depth, the textbook residual beats the paper's.",
      compare: ['deep', 'deepPaper'],
      better: 'higher',
    },
    {
      claim: "In branches of one layer, the textbook residual beats the paper's.",
      compare: ['shallow', 'shallowPaper'],
      better: 'higher',
    },
    {
      claim: 'Progressive training makes branches beat depth, whatever the residual.',
      compare: ['shallowPrefixes', 'deep'],
      better: 'higher',
    },
    {
      claim: 'Progressive training makes branches beat depth, whatever the residual.',
      compare: ['shallowPaperPrefixes', 'deepPaper'],
      better: 'higher',
    },
  ],
  arms: {
    shallow: {
      description: 'branches of one layer, textbook residual',
      settings: (preset) => ({ ...shallow(preset), ...preNorm }),
    },
    square: {
      description: 'about as many branches as layers, textbook residual',
      settings: (preset) => ({ ...square(preset), ...preNorm }),
    },
    deep: { description: 'one branch, textbook residual', settings: (preset) => ({ ...deep(preset), ...preNorm }) },
    shallowPaper: {
      description: "branches of one layer, the paper's residual",
      settings: (preset) => ({ ...shallow(preset), ...paper }),
    },
    squarePaper: {
      description: "about as many branches as layers, the paper's residual",
      settings: (preset) => ({ ...square(preset), ...paper }),
    },
    deepPaper: { description: "one branch, the paper's residual", settings: (preset) => ({ ...deep(preset), ...paper }) },
    deepAtFlops: {
      description: 'one branch, textbook residual, at the operations of branches of one layer',
      settings: (preset) => ({ ...deep(preset), ...preNorm }),
      budget: { equal: 'flops', to: 'shallow' },
    },
    deepPaperAtFlops: {
      description: "one branch, the paper's residual, at the operations of branches of one layer",
      settings: (preset) => ({ ...deep(preset), ...paper }),
      budget: { equal: 'flops', to: 'shallowPaper' },
    },
    shallowPrefixes: {
      description: 'branches of one layer, textbook residual, sum of all prefix losses',
      settings: (preset) => ({ ...shallow(preset), ...preNorm, scheme: 'prefixSum' }),
    },
    shallowPaperPrefixes: {
      description: "branches of one layer, the paper's residual, sum of all prefix losses",
      settings: (preset) => ({ ...shallow(preset), ...paper, scheme: 'prefixSum' }),
    },
  },
  seeds: [1, 2, 3, 4, 5],
  // Arms at equal FLOPs take as few as 244 steps in `tiny`, of which the warm-up must not be a large part.
  presets: { ...STUDY_PRESETS, tiny: { ...STUDY_PRESETS.tiny, warmup: 25 } },
})
