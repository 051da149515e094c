// A small ResNet (arXiv 1512.03385) on MNIST, with BatchNorm and SGD with momentum: node examples/resnet.mjs [STEPS]
// @ts-check
import * as pf from 'paraformer'

/** @import { Tensor } from 'paraformer' */

/** @param {number} inputs @param {number} outputs @param {number} size @param {number} stride */
const conv = (inputs, outputs, size, stride = 1) =>
  new pf.Conv2d(inputs, outputs, size, { stride, padding: (size - 1) / 2, bias: false })

class Block extends pf.Module {
  /** @param {number} inputs @param {number} outputs @param {number} stride */
  constructor(inputs, outputs, stride) {
    super()
    this.body = new pf.Sequential(
      conv(inputs, outputs, 3, stride),
      new pf.BatchNorm2d(outputs),
      pf.relu,
      conv(outputs, outputs, 3),
      new pf.BatchNorm2d(outputs),
    )
    this.skip = stride > 1 ? new pf.Sequential(conv(inputs, outputs, 1, stride), new pf.BatchNorm2d(outputs)) : undefined
  }

  /** @param {Tensor} x [B, C, H, W] */
  forward(x) {
    return this.body
      .forward(x)
      .add(this.skip?.forward(x) ?? x)
      .relu()
  }
}

class ResNet extends pf.Module {
  stem = new pf.Sequential(conv(1, 16, 3), new pf.BatchNorm2d(16), pf.relu)
  blocks = [new Block(16, 16, 1), new Block(16, 32, 2), new Block(32, 64, 2)]
  head = new pf.Linear(64, 10)

  /** @param {Tensor} images [B, 1, 28, 28] */
  forward(images) {
    const x = this.blocks.reduce((z, block) => block.forward(z), this.stem.forward(images)) // [B, 64, 7, 7]
    return this.head.forward(x.mean([2, 3])) // [B, 10]
  }
}

// Training: SGD with momentum and a falling learning rate, in one captured step.
const steps = Number(process.argv[2] ?? 150)
const device = await pf.requestDevice()
device.random.seed = 1
const digits = await pf.loadDataset('mnist')
const batches = new pf.BatchLoader(digits, digits.train, { batchSize: 32, seed: 1, dropLast: true })
const model = new ResNet().train()
const optimizer = new pf.Sgd(model.namedParameters(), { momentum: 0.9, weightDecay: 5e-4 })
const step = pf.capture((/** @type {Tensor} */ images, /** @type {Tensor} */ labels) => {
  const loss = pf.crossEntropy(model.forward(images), labels)
  loss.backward()
  optimizer.step(optimizer.lr)
  optimizer.zeroGrad()
  return loss
})
for (let i = 0; i < steps; i++) {
  optimizer.lr = 0.05 * (1 - i / steps)
  const { images, labels } = await batches.next()
  const loss = await pf.scope(() => step(pf.tensor(images, { shape: [32, 1, 28, 28] }), pf.tensor(labels))).item()
  if (i % 25 === 0 || i === steps - 1) console.log(`step ${i}: loss ${loss.toFixed(3)}`)
}

model.eval() // BatchNorm takes the running statistics
const { images, labels } = await new pf.BatchLoader(digits, digits.test, { batchSize: 1000, shuffle: false }).next()
const found = await pf.noGrad(() => model.forward(pf.tensor(images, { shape: [1000, 1, 28, 28] })).argmax(1)).data()
console.log(`${found.filter((c, i) => c === labels[i]).length / 10} % of 1000 test images are right`)
device.destroy()
