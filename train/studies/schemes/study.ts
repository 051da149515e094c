import { defineStudy, STUDY_PRESETS } from 'paraformer'

/**
 * Does progressive training pay? The authors' scheme takes m + 1 optimizer steps on a mini-batch and runs (m + 3) / 2 times the
 * branches, so it is compared with joint training at equal optimizer steps and at equal operations.
 */
export default defineStudy({
  id: 'schemes',
  hypothesis:
    'Training every prefix (progressive approximation) gives a better whole model than training the full sum alone, at equal optimizer steps and at equal FLOPs.',
  prediction:
    "Part of the gain of the authors' scheme comes from its additional steps: joint training at its FLOPs comes within 0.5 points of it.",
  metric: 'testAccuracy',
  budget: 'steps',
  baseline: 'paper',
  decisionRule: [
    {
      claim: 'At equal optimizer steps the scheme of the paper beats joint training.',
      compare: ['paper', 'joint'],
      better: 'higher',
    },
    {
      claim: 'At equal FLOPs the scheme of the paper beats joint training.',
      compare: ['paper', 'jointAtFlops'],
      better: 'higher',
    },
    {
      claim: 'At equal optimizer steps the sum of prefix losses beats joint training.',
      compare: ['prefixSum', 'joint'],
      better: 'higher',
    },
    {
      claim: 'At equal optimizer steps a random prefix beats joint training.',
      compare: ['randomPrefix', 'joint'],
      better: 'higher',
    },
    { claim: 'At equal optimizer steps joint training beats boosting.', compare: ['joint', 'greedy'], better: 'higher' },
    {
      claim: 'At equal optimizer steps joint training beats branches that learn alone.',
      compare: ['joint', 'independent'],
      better: 'higher',
    },
  ],
  arms: {
    joint: { description: 'loss on the full sum', settings: { scheme: 'joint' } },
    paper: { description: "the authors' passes A and B", settings: { scheme: 'paper' } },
    prefixSum: { description: 'sum of all prefix losses in one step', settings: { scheme: 'prefixSum' } },
    randomPrefix: { description: 'one random prefix a step', settings: { scheme: 'randomPrefix' } },
    greedy: { description: 'branch after branch, earlier ones frozen', settings: { scheme: 'greedy' } },
    independent: { description: 'each branch alone, summed afterwards', settings: { scheme: 'independent' } },
    jointAtFlops: {
      description: "loss on the full sum, at the operations of the authors' scheme",
      settings: { scheme: 'joint' },
      budget: { equal: 'flops', to: 'paper' },
    },
  },
  seeds: [1, 2, 3, 4, 5],
  // With m branches an epoch of the baseline has m + 1 steps on each mini-batch: arms of equal steps take m + 1 times its epochs.
  presets: STUDY_PRESETS,
})
