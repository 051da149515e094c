// A study of your own: do the first branches alone answer better when training drops branches at random (stochastic depth, arXiv
// 1603.09382)? It trains both arms over five seeds and writes a report:
//   npx paraformer study run examples/ownStudy.ts && npx paraformer study report runs/studies/drop-branches-tiny
import { defineStudy, type ForwardOptions, ones, ParaFormer, type Tensor } from 'paraformer'

/** While it trains, it leaves out each branch for a quarter of the images, and scales the others so that the sum stays as large. */
class DropBranches extends ParaFormer {
  protected override prefixOutputs(images: Tensor, options: ForwardOptions): Tensor[] {
    const outputs = super.prefixOutputs(images, options) // [B, D] each
    if (!this.training) return outputs
    const B = images.shape[0]!
    return outputs.map((z) => z.mul(ones([B, 1]).dropout(0.25)))
  }
}

export default defineStudy({
  id: 'drop-branches',
  hypothesis: 'A branch that cannot rely on those after it learns more by itself.',
  prediction: 'Prefix 2 gains more than five points, and the whole model loses less than two.',
  metric: 'testAccuracy',
  decisionRule: [
    {
      claim: 'Dropping branches makes the first two branches more accurate.',
      ...{ compare: ['drop', 'joint'], better: 'higher', metric: 'final.test.accuracy.1' },
    },
    { claim: 'The whole model is as good without it.', compare: ['joint', 'drop'], better: 'higher' },
  ],
  arms: {
    joint: { settings: { scheme: 'joint' } },
    drop: { settings: { scheme: 'joint' }, model: (config) => new DropBranches(config) },
  },
  seeds: [1, 2, 3, 4, 5],
  budget: 'steps',
  presets: {
    tiny: {
      ...{ dataset: 'mnist', validation: 0.1, trainImages: 2000, testImages: 1000, batchSize: 50, epochs: 3, warmup: 20 },
      ...{ patchSize: 7, dim: 32, heads: 2, mlpDim: 64, branches: 4, dropout: 0, lr: 4e-3 },
    },
  },
})
