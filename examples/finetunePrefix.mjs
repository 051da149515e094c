// The first branches of a trained ParaFormer are a model too: this cuts two of four out, sees them fail on digits that are turned by 45
// degrees, and fine-tunes them on a few of those: node examples/finetunePrefix.mjs
// @ts-check
import {
  BatchLoader,
  checkSettings,
  createModel,
  cutModel,
  evaluate,
  openData,
  ParaFormer,
  requestDevice,
  rotatedTasks,
  startTrainer,
} from 'paraformer'

/** @import { BaseModel, Model, RunData, Settings, Split, Task } from 'paraformer' */

const device = await requestDevice()
const settings = checkSettings({
  ...{ dataset: 'mnist', patchSize: 7, dim: 32, heads: 2, mlpDim: 64, branches: 4, dropout: 0, seed: 1 },
  ...{ scheme: 'prefixSum', mode: 'coalesced', batchSize: 32, epochs: 2, maxSteps: 150, lr: 5e-3, warmup: 20 },
})
const digits = await openData(settings)
const few = { train: first(digits.dataset.train, 3000), test: first(digits.dataset.test, 500) }
const [upright, turned] = rotatedTasks({ ...digits.dataset, ...few }, 8) // task 1 of 8 is turned by an eighth of a turn
if (!upright || !turned) throw new Error('there are eight tasks')

/** Gives the first images of a split. @param {Split} split @param {number} count @returns {Split} */
function first(split, count) {
  return { images: split.images.subarray(0, count * 28 * 28), labels: split.labels.subarray(0, count), count }
}

/** Loads the images of a task as those of the data set. @param {Task} task @returns {RunData} */
function dataOf(task) {
  return {
    ...digits,
    train: new BatchLoader(digits.dataset, task.train, { batchSize: 32, seed: 1, dropLast: true }),
    evaluation: new BatchLoader(digits.dataset, task.test, { batchSize: 250, shuffle: false }),
  }
}

/** @param {Settings} settings @param {Task} task @param {BaseModel} [base] the model that it begins with */
async function train(settings, task, base) {
  const initial = base && { ...base, path: 'the prefix', data: undefined }
  const trainer = await startTrainer(device, settings, dataOf(task), { saveEvery: 1000, initial })
  await trainer.run({
    onStep({ position: { step }, losses }) {
      if (step % 50 === 0) console.log(`step ${step}: loss ${losses[0]?.at(-1)?.toFixed(3)}`)
    },
  })
  return trainer.parts.model
}

/** @param {string} what @param {Model} model */
async function show(what, model) {
  for (const task of [upright, turned]) {
    if (!task) continue
    const { accuracies } = await evaluate(model, dataOf(task).evaluation)
    console.log(`${what}, ${task.name}: ${accuracies.map((share) => `${(100 * share).toFixed(1)} %`).join(', ')}`)
  }
}

const whole = await train(settings, upright)
if (!(whole instanceof ParaFormer)) throw new Error('the settings ask for a ParaFormer')
await show('prefixes 1 to 4', whole)

const prefix = await cutModel(whole, [0, 1], 'float32') // indices of the branches that it keeps, from 0
const cut = createModel(prefix.config)
cut.loadStateDict(prefix.parameters)
await show('before', cut)
await show('after', await train({ ...settings, branches: 2, maxSteps: 100, lr: 3e-3 }, turned, prefix))
device.destroy()
