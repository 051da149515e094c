import { defineStudy, STUDY_PRESETS } from 'paraformer'

/** The metric of prefix k of eight: the test accuracy that the trained model has with its first branches alone. */
const prefix = (k: number) => [`final.test.accuracy.${k - 1}`, 'testAccuracy'] as const

/** Every preset has eight branches, so that prefixes have names. */
const eight = { branches: 8, branchDepth: 1 } as const

const cuts = 'A prefix of a trained model is more accurate than a model of its size trained from scratch.'

/**
 * Are prefixes good small models? From one trained model, every prefix is measured as `paraformer compress` measures it, and beside some of
 * them stands a model of that size, trained from scratch for as many steps. The smallest prefixes within 0.5 and 1 points of the whole
 * model, chosen on validation images, are `measures` of the whole model: branches, parameters and test accuracy.
 */
export default defineStudy({
  id: 'compression',
  hypothesis: 'Cutting a trained model down to its first branches gives better small models than training those from scratch.',
  prediction:
    'Prefixes are as accurate as models of their size from scratch, not more; 1 point is lost with half of the branches.',
  metric: 'testAccuracy',
  budget: 'steps',
  baseline: 'whole',
  decisionRule: [
    { claim: cuts, compare: ['whole', 'scratch1'], metric: prefix(1), better: 'higher' },
    { claim: cuts, compare: ['whole', 'scratch2'], metric: prefix(2), better: 'higher' },
    { claim: cuts, compare: ['whole', 'scratch4'], metric: prefix(4), better: 'higher' },
    {
      claim: 'A model of two of the eight branches from scratch is less accurate than the whole model, by more than 1 point.',
      compare: ['whole', 'scratch2'],
      better: 'higher',
      margin: 0.01,
    },
    {
      claim: 'The smallest prefix within 1 point of the whole model has fewer parameters than half of the branches do.',
      compare: ['whole', 'scratch4'],
      metric: ['measures.parametersWithinOnePoint', 'parameters'],
      better: 'lower',
    },
    {
      claim: 'Training every prefix makes the whole model better than training the full sum alone.',
      compare: ['whole', 'wholeJoint'],
      better: 'higher',
    },
  ],
  arms: {
    whole: {
      description: 'eight branches, sum of all prefix losses; every prefix is measured',
      settings: { scheme: 'prefixSum' },
      procedure: { name: 'compress' },
    },
    wholeJoint: {
      description: 'eight branches, loss on the full sum; every prefix is measured',
      settings: { scheme: 'joint' },
      procedure: { name: 'compress' },
    },
    scratch1: { description: 'one branch from scratch', settings: { branches: 1, scheme: 'joint' } },
    scratch2: { description: 'two branches from scratch', settings: { branches: 2, scheme: 'joint' } },
    scratch4: { description: 'four branches from scratch', settings: { branches: 4, scheme: 'joint' } },
  },
  seeds: [1, 2, 3, 4, 5],
  presets: {
    tiny: { ...STUDY_PRESETS.tiny, ...eight, epochs: 3 },
    small: { ...STUDY_PRESETS.small, ...eight },
    cifar: STUDY_PRESETS.cifar,
    paper: STUDY_PRESETS.paper,
  },
})
