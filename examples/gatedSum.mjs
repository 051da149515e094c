// ParaFormer adds up its branches; here each branch has a gate, a learned factor that begins at 1. The gated sum and the plain one train
// from the same parameters on the same images of MNIST: node examples/gatedSum.mjs
// @ts-check
import { checkSettings, evaluate, ones, openData, ParaFormer, parameter, requestDevice, startTrainer } from 'paraformer'

/** @import { ForwardOptions, Tensor } from 'paraformer' */

/** f_k(x) = Head(g_1 B_1(E(x)) + ... + g_k B_k(E(x))), where the stem E, the branches B and the head are those of ParaFormer. */
class GatedSum extends ParaFormer {
  gates = parameter(() => ones([this.config.branches, 1]))

  /**
   * Gives the outputs of branches, [B, D] each, that become a sum.
   * @override @protected
   * @param {Tensor} images [B, C, H, W]
   * @param {ForwardOptions} options
   */
  prefixOutputs(images, options) {
    return super.prefixOutputs(images, options).map((z, i) => z.mul(this.gates.slice([[i, i + 1]])))
  }
}

const device = await requestDevice()
const settings = checkSettings({
  ...{ dataset: 'mnist', patchSize: 7, dim: 32, heads: 2, mlpDim: 64, branches: 4, dropout: 0, seed: 1 },
  ...{ scheme: 'prefixSum', mode: 'coalesced', batchSize: 32, maxSteps: 150, lr: 5e-3, warmup: 20, testImages: 1000 },
})

/** Trains a model. @param {typeof ParaFormer} Model its class @returns what it is and the accuracy of each of its prefixes */
async function train(Model) {
  const data = await openData(settings)
  const trainer = await startTrainer(device, settings, data, { saveEvery: 1000, createModel: (config) => new Model(config) })
  await trainer.run({
    onStep({ position: { step }, losses }) {
      if (step % 50 === 0) console.log(`${Model.name}, step ${step}: loss ${losses[0]?.at(-1)?.toFixed(3)}`)
    },
  })
  const { model } = trainer.parts
  const { accuracies, losses } = await evaluate(model, data.evaluation)
  return { model, accuracies, losses }
}

const plain = await train(ParaFormer)
const gated = await train(GatedSum)
for (const [name, { accuracies, losses }] of Object.entries({ plain, gated })) {
  const shares = accuracies.map((share) => `${(100 * share).toFixed(1)} %`)
  console.log(`${name}: prefixes 1 to 4 have ${shares.join(', ')}, the whole a loss of ${losses.at(-1)?.toFixed(3)}`)
}
const gates = gated.model instanceof GatedSum ? await gated.model.gates.data() : []
console.log(`gates: ${Array.from(gates, (gate) => gate.toFixed(3)).join(', ')}`)
device.destroy()
