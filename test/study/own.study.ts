// A study of one's own: a new residual form, a gated sum of branches, and a new scheme.
import {
  countFlops,
  countParameters,
  defineScheme,
  defineStudy,
  EncoderLayer,
  type ForwardOptions,
  type ModelConfig,
  makeScheme,
  ones,
  ParaFormer,
  type Parameter,
  parameter,
  type Tensor,
} from 'paraformer'

/** y = x + alpha * (layer(x) - x), where alpha is learned. */
class SoftResidual extends EncoderLayer {
  readonly alpha: Parameter = parameter(() => ones([1]))

  override forward(x: Tensor, options: Parameters<EncoderLayer['forward']>[1] = {}): Tensor {
    const base = options.clsOnly ? x.slice([[], [0, 1]]) : x
    return base.add(super.forward(x, options).sub(base).mul(this.alpha))
  }
}

/** ParaFormer with such layers, whose branches are summed with learned weights. */
class Gated extends ParaFormer {
  readonly gates: Parameter

  constructor(config: ModelConfig) {
    super(config)
    this.gates = parameter(() => ones([this.config.branches, 1, 1]))
    for (const { layers } of this.branches) for (const l of layers.keys()) layers[l] = new SoftResidual(this.config)
  }

  override outputs(images: Tensor, options: ForwardOptions = {}): Tensor {
    const outputs = super.outputs(images, options) // [k, B, D]
    return outputs.mul(this.gates.slice([[0, outputs.shape[0]!]]))
  }

  override features(images: Tensor, options: ForwardOptions = {}): Tensor {
    return this.outputs(images, options).sum(0)
  }
}

/** One step on the loss of the first or of the last prefix, at random. */
const ends = defineScheme({
  name: 'ends',
  make(m, options) {
    const steps = makeScheme('paper', m, options).passes[0]!
    return { passes: [steps], choose: (all, { random }) => all[random.below(2) * (m - 1)]! }
  },
})

export default defineStudy({
  id: 'own',
  hypothesis: 'Learned gates and training the ends alone lose nothing.',
  prediction: 'All arms are within a point of each other.',
  metric: 'testAccuracy',
  decisionRule: [
    { claim: 'Gates are better than a sum.', compare: ['gated', 'sum'], better: 'higher' },
    { claim: 'Training every prefix is better than the ends alone.', compare: ['sum', 'ends'], better: 'higher', margin: 0.01 },
  ],
  arms: {
    sum: { settings: { scheme: 'prefixSum' } },
    ends: { settings: {}, scheme: ends },
    gated: {
      settings: { scheme: 'prefixSum' },
      model: (config) => new Gated(config),
      count: (config) => ({
        parameters: countParameters(config).total + config.dim,
        training: countFlops(config).training,
      }),
    },
  },
  seeds: [1, 2],
  budget: 'steps',
  presets: {
    tiny: {
      ...{ dataset: 'mnist', validation: 0.01, trainImages: 64, testImages: 50, batchSize: 8, epochs: 1, warmup: 3 },
      ...{ patchSize: 14, dim: 8, heads: 1, dimHead: 8, mlpDim: 8, branches: 2 },
    },
  },
})
