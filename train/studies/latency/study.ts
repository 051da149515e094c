import { type Arm, defineStudy, type Settings, STUDY_PRESETS } from 'paraformer'

const layersOf = ({ branches = 1, branchDepth = 1 }: Partial<Settings>) => branches * branchDepth

const procedure = { name: 'latency', batches: [1, 64] } as const

/** Branches of one layer, in one of the modes. */
const branches = (description: string, mode: Settings['mode']): Arm => ({
  description,
  settings: (preset) => ({ branches: layersOf(preset), branchDepth: 1, scheme: 'joint', mode }),
  procedure,
})

/** A run is as long as its median step needs to be known, and evaluates few images. */
const short = { epochs: 1, maxSteps: 100, testImages: 250 } as const

const exclusive = 'Branches in one wide dispatch take less time for a training step'

/**
 * Does parallelism pay in time? The same parameters as branches side by side, in each mode, as branches of two layers, as layers in depth,
 * and as layers in a pipeline over two devices (GPipe, arXiv 1811.06965). Both devices are of one adapter; branches on two devices have a
 * process for each, and the pipeline's are in one. Accuracies mean nothing here. Nothing may run beside a run.
 */
export default defineStudy({
  id: 'latency',
  hypothesis: 'Branches side by side train and answer faster than as many layers in depth.',
  prediction:
    'They are faster, mostly since of a branch only the CLS row of its last layer is computed; the mode matters where dispatches are small.',
  metric: 'warmSeconds',
  budget: 'parameters',
  baseline: 'serial',
  exclusive: true,
  decisionRule: [
    { claim: `${exclusive} than one after the other.`, compare: ['coalesced', 'serial'], better: 'lower' },
    { claim: `${exclusive} than layers in depth.`, compare: ['coalesced', 'vit'], better: 'lower' },
    {
      claim: `${exclusive} than branches of half as many and twice as deep.`,
      compare: ['coalesced', 'twoLayers'],
      better: 'lower',
    },
    {
      claim: 'Branches in streams of their own take less time for a training step than one after the other.',
      compare: ['streams', 'serial'],
      better: 'lower',
    },
    {
      claim: 'Branches on two devices of one adapter take less time for a training step than in one wide dispatch.',
      compare: ['devices', 'coalesced'],
      better: 'lower',
    },
    {
      claim: 'Branches on two devices of one adapter take less time for a training step than a pipeline of layers over two.',
      compare: ['devices', 'pipeline'],
      metric: ['warmSeconds', 'measures.stepSeconds'],
      better: 'lower',
    },
    {
      claim: 'Branches in one wide dispatch answer faster than layers in depth, for one image and for 64.',
      compare: ['coalesced', 'vit'],
      metric: 'measures.forwardSeconds1',
      better: 'lower',
    },
    {
      claim: 'Branches in one wide dispatch answer faster than layers in depth, for one image and for 64.',
      compare: ['coalesced', 'vit'],
      metric: 'measures.forwardSeconds64',
      better: 'lower',
    },
  ],
  arms: {
    serial: branches('branches one after the other', 'serial'),
    streams: branches('each branch in a stream of its own', 'streams'),
    coalesced: branches('matching dispatches of all branches in one', 'coalesced'),
    devices: branches('branches on two devices of one adapter, in two processes', 'devices'),
    twoLayers: {
      description: 'half as many branches of two layers, matching dispatches in one',
      settings: (preset) => ({ branches: layersOf(preset) / 2, branchDepth: 2, scheme: 'joint', mode: 'coalesced' }),
      procedure,
    },
    vit: {
      description: 'all layers in depth',
      settings: (preset) => ({ architecture: 'vit', depth: layersOf(preset), scheme: 'joint', mode: 'serial' }),
      procedure,
    },
    pipeline: {
      description:
        'layers in depth, divided over two devices of one adapter, with four micro-batches; timed after ten steps on one device',
      settings: (preset) => ({ architecture: 'vit', depth: layersOf(preset), scheme: 'joint', mode: 'serial', maxSteps: 10 }),
      procedure: { ...procedure, pipeline: { devices: 2, microBatches: 4 } },
    },
  },
  seeds: [1, 2, 3, 4, 5],
  presets: {
    tiny: { ...STUDY_PRESETS.tiny, branches: 8, ...short },
    small: { ...STUDY_PRESETS.small, ...short },
    cifar: { ...STUDY_PRESETS.cifar, ...short },
    paper: { ...STUDY_PRESETS.paper, ...short },
  },
})
