import { defineStudy, STUDY_PRESETS } from 'paraformer'

const forgets = 'New branches beside frozen old ones forget less than fine-tuning everything.'

/**
 * Can a trained model learn more by new branches? It knows half of the classes, in an order that the seed shuffles, and learns the other half
 * in several ways. Accuracy is over all classes, without being told which half an image is of. All ways end with the same parameters and
 * have the same settings and epochs; training from scratch sees all images in every one of them.
 */
export default defineStudy({
  id: 'expansion',
  hypothesis: 'Appending branches to a trained model lets it learn new classes without forgetting the old ones.',
  prediction:
    'Without old images every way forgets nearly all, since one head serves old and new classes; a tenth of the old images matters more than frozen branches do.',
  metric: 'measures.accuracy',
  budget: 'parameters',
  baseline: 'scratch',
  decisionRule: [
    { claim: forgets, compare: ['frozen', 'finetune'], metric: 'measures.forgetting', better: 'lower' },
    {
      claim: 'New branches beside frozen old ones are more accurate over all classes than fine-tuning everything.',
      compare: ['frozen', 'finetune'],
      better: 'higher',
    },
    {
      claim: 'New branches beside frozen old ones, without old images, are more accurate than replay of a tenth of them.',
      compare: ['frozen', 'replay'],
      better: 'higher',
    },
    {
      claim: 'With a tenth of the old images, frozen old branches are more accurate over all classes than branches that learn.',
      compare: ['frozenReplay', 'replay'],
      better: 'higher',
    },
    {
      claim: 'Training from scratch on all images is more accurate than any expansion, by more than a point.',
      compare: ['scratch', 'frozenReplay'],
      better: 'higher',
      margin: 0.01,
    },
    {
      claim: 'Training from scratch on all images is more accurate than any expansion, by more than a point.',
      compare: ['scratch', 'replay'],
      better: 'higher',
      margin: 0.01,
    },
  ],
  arms: {
    scratch: {
      description: 'a new model, trained on old and new images',
      settings: {},
      procedure: { name: 'expand', way: 'scratch', add: 2 },
    },
    frozen: {
      description: 'new branches learn new images, everything old but the head is frozen',
      settings: {},
      procedure: { name: 'expand', way: 'expand', add: 2 },
    },
    frozenReplay: {
      description: 'new branches learn new images and a tenth of the old ones, everything old but the head is frozen',
      settings: {},
      procedure: { name: 'expand', way: 'expandReplay', add: 2, replay: 0.1 },
    },
    finetune: {
      description: 'old and new branches learn new images',
      settings: {},
      procedure: { name: 'expand', way: 'finetune', add: 2 },
    },
    replay: {
      description: 'old and new branches learn new images and a tenth of the old ones',
      settings: {},
      procedure: { name: 'expand', way: 'replay', add: 2, replay: 0.1 },
    },
  },
  seeds: [1, 2, 3, 4, 5],
  // With the paper's residual new branches begin with an output of zero, so that the expanded model begins as the old one.
  presets: {
    tiny: { ...STUDY_PRESETS.tiny, scheme: 'prefixSum', residual: 'paper', epochs: 3 },
    small: { ...STUDY_PRESETS.small, scheme: 'prefixSum', residual: 'paper' },
    cifar: { ...STUDY_PRESETS.cifar, scheme: 'prefixSum', residual: 'paper' },
    paper: { ...STUDY_PRESETS.paper, scheme: 'prefixSum' },
  },
})
