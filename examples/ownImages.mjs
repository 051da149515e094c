// A ParaFormer of your own images: FOLDER has a folder of image files for each class. It trains, saves the model for `paraformer predict`,
// and says what IMAGE shows: node examples/ownImages.mjs FOLDER IMAGE
// @ts-check
import { checkSettings, openData, predict, readImage, requestDevice, saveSafetensors, startTrainer, tensor } from 'paraformer'

const [folder, file] = process.argv.slice(2)
if (!folder || !file) {
  console.error('usage: node ownImages.mjs FOLDER IMAGE')
  process.exit(2)
}

const device = await requestDevice()
const settings = checkSettings({
  ...{ dataset: 'images', dataDir: folder, imageSize: 32, channels: 3, testShare: 0.25, flip: true, seed: 1 },
  ...{ patchSize: 8, dim: 32, heads: 2, mlpDim: 64, branches: 2, dropout: 0 },
  ...{ scheme: 'prefixSum', mode: 'coalesced', batchSize: 16, epochs: 20, lr: 3e-3, warmup: 10 },
})
const data = await openData(settings)
const { classNames = [], train, test, mean, std } = data.dataset
console.log(`${train.count} training images and ${test.count} of test: ${classNames.join(', ')}`)

const trainer = await startTrainer(device, settings, data, { saveEvery: 1000 })
await trainer.run({
  onEpoch({ epoch, accuracies }) {
    if ((epoch + 1) % 5 === 0) console.log(`epoch ${epoch + 1}: ${percent(accuracies.at(-1))} of the test images are right`)
  },
})
const { model } = trainer.parts
await saveSafetensors('model.safetensors', model.stateDict(), {
  config: JSON.stringify(model.config),
  data: JSON.stringify(data.info),
})
console.log('saved; npx paraformer predict --checkpoint model.safetensors takes other images')

// An image becomes what those of the folder became: cropped to a square, resized, and normalised channel by channel.
const { channels, imageSize } = model.config
const bytes = await readImage(file, channels, imageSize, 'crop')
const pixels = imageSize ** 2
const image = Float32Array.from(bytes, (byte, i) => {
  const c = Math.floor(i / pixels)
  return (byte / 255 - (mean[c] ?? 0)) / (std[c] ?? 1)
})
const { logits } = await predict(model, { count: 1, slice: () => image }) // [classes]
const probabilities = await tensor(logits).softmax(0).data()
for (const [i, name] of classNames.entries()) console.log(`${file}: ${name} ${percent(probabilities[i])}`)
await Promise.all([data.train.close(), data.evaluation.close()]) // their threads make batches
device.destroy()

/** @param {number | undefined} share */
function percent(share = 0) {
  return `${(100 * share).toFixed(1)} %`
}
