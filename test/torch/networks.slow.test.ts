// The networks of two examples follow PyTorch from the same weights on the same batches.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type * as Paraformer from '../../train/index.ts'
import { testRandom } from '../harness/kernel.ts'
import { note, suite } from '../harness/suite.ts'

// The example and this test must have one copy of the package.
const library = new URL('./index.js', import.meta.url)
const pf: typeof Paraformer = await import(library.href)
const device = await pf.requestDevice()
const { test, run } = suite(`networks beside PyTorch on ${device.summary.name}`)
const STEPS = 40
const python = ['/usr/bin/python3', 'python3'].find((name) => spawnSync(name, ['-c', 'import torch, numpy']).status === 0)

/** The batches of a training: `inputs` and `labels` [steps, ...], those of the validation, and the learning rates [steps]. */
type Batches = Record<'inputs' | 'labels' | 'validationInputs' | 'validationLabels' | 'rate', Paraformer.Tensor>

/** Loads a class of an example, whose program is left out. */
async function classOf(
  example: string,
  name: string,
  folder: string,
): Promise<new (...args: number[]) => Paraformer.Module & { forward(x: Paraformer.Tensor): Paraformer.Tensor }> {
  const [classes] = readFileSync(`examples/${example}.mjs`, 'utf8').split('// Training')
  const file = join(folder, `${example}.mjs`)
  writeFileSync(file, `${classes!.replace("'paraformer'", `'${library.href}'`)}\nexport { ${name} }\n`)
  return (await import(pathToFileURL(file).href))[name]
}

/** Trains here and in PyTorch and compares the losses. */
async function compare(
  example: string,
  name: string,
  args: number[],
  makeOptimizer: (model: Paraformer.Module) => { step(lr: number): unknown; zeroGrad(): void },
  batches: Batches,
): Promise<void> {
  if (!python) throw new Error('no python3 has torch and numpy; install them (Debian: apt-get install python3-torch)')
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-networks-'))
  const model = new (await classOf(example, name, folder))(...args)
  await pf.saveNpz(join(folder, 'weights.npz'), model.stateDict())
  await pf.saveNpz(join(folder, 'batches.npz'), batches)
  const script = resolve('test/torch/networks.py')
  const said = spawnSync(python, [script, example, join(folder, 'weights.npz'), join(folder, 'batches.npz')], {
    encoding: 'utf8',
  })
  rmSync(folder, { recursive: true })
  if (said.status !== 0) throw new Error(said.stderr)
  const theirs: { losses: number[]; validation: number } = JSON.parse(said.stdout)
  const optimizer = makeOptimizer(model)
  const lossOf = (inputs: Paraformer.Tensor, labels: Paraformer.Tensor) => {
    const logits = model.forward(inputs)
    return pf.crossEntropy(logits.reshape([-1, logits.shape.at(-1)!]), labels.reshape([-1]))
  }
  const rates = await batches.rate.data()
  const losses: number[] = []
  model.train()
  for (let i = 0; i < STEPS; i++) {
    const [inputs, labels] = [batches.inputs, batches.labels].map((t) => t.slice([[i, i + 1]]).squeeze(0)) as [
      Paraformer.Tensor,
      Paraformer.Tensor,
    ]
    const loss = pf.scope(() => {
      const loss = lossOf(inputs, labels)
      loss.backward()
      optimizer.step(rates[i]!)
      optimizer.zeroGrad()
      return loss
    })
    losses.push(await loss.item())
  }
  model.eval()
  const validation = await pf.noGrad(() => lossOf(batches.validationInputs, batches.validationLabels)).item()
  const differences = losses.map((loss, i) => Math.abs(loss - theirs.losses[i]!))
  const worst = Math.max(...differences.slice(0, 20))
  note(
    `${name}: losses ${losses[0]!.toFixed(4)} to ${losses.at(-1)!.toFixed(4)} in ${STEPS} steps, within ${worst.toExponential(1)} of PyTorch's for 20; validation ${validation.toFixed(4)}, PyTorch's ${theirs.validation.toFixed(4)}`,
  )
  if (!(worst <= 1e-3)) throw new Error(`${differences.slice(0, 20)}`)
  if (!(losses.at(-1)! < 0.95 * losses[0]!) || !(Math.abs(validation - theirs.validation) <= 0.02 * theirs.validation))
    throw new Error(`${losses} ${validation} ${theirs.validation}`)
}

test('a character Transformer', async () => {
  const text = readFileSync('LICENSE', 'utf8')
  const characters = [...new Set(text)].sort()
  const ids = Int32Array.from(text, (character) => characters.indexOf(character))
  const [B, T, train] = [4, 128, Math.floor(0.8 * ids.length)]
  const random = testRandom(7)
  const windows = (starts: number[], shift: number) =>
    Int32Array.from({ length: starts.length * T }, (_, i) => ids[starts[Math.floor(i / T)]! + (i % T) + shift]!)
  const startsOf = (count: number, from: number, to: number) =>
    Array.from({ length: count }, () => from + Math.floor(random() * (to - from - T - 1)))
  const [own, held] = [startsOf(STEPS * B, 0, train), startsOf(8, train, ids.length)]
  await compare(
    'charTransformer',
    'CharTransformer',
    [characters.length],
    (model) => new pf.AdamW(model.namedParameters(), { weightDecay: 0.01 }),
    {
      inputs: pf.tensor(windows(own, 0), { shape: [STEPS, B, T] }),
      labels: pf.tensor(windows(own, 1), { shape: [STEPS, B, T] }),
      validationInputs: pf.tensor(windows(held, 0), { shape: [8, T] }),
      validationLabels: pf.tensor(windows(held, 1), { shape: [8, T] }),
      rate: pf.tensor(Array.from({ length: STEPS }, (_, i) => 1e-3 * Math.min(1, (i + 1) / 10))),
    },
  )
})

test('a small ResNet', async () => {
  const digits = await pf.loadDataset('mnist')
  const B = 32
  const normalised = async (split: typeof digits.train, batchSize: number, count: number) => {
    const loader = new pf.BatchLoader(digits, split, { batchSize, seed: 3, dropLast: true })
    const batches = []
    for (let i = 0; i < count; i++) batches.push(await loader.next())
    return {
      images: Float32Array.from(batches.flatMap(({ images }) => [...images])),
      labels: Int32Array.from(batches.flatMap(({ labels }) => [...labels])),
    }
  }
  const [train, held] = [await normalised(digits.train, B, STEPS), await normalised(digits.test, 200, 1)]
  await compare('resnet', 'ResNet', [], (model) => new pf.Sgd(model.namedParameters(), { momentum: 0.9, weightDecay: 5e-4 }), {
    inputs: pf.tensor(train.images, { shape: [STEPS, B, 1, 28, 28] }),
    labels: pf.tensor(train.labels, { shape: [STEPS, B] }),
    validationInputs: pf.tensor(held.images, { shape: [200, 1, 28, 28] }),
    validationLabels: pf.tensor(held.labels, { shape: [200] }),
    rate: pf.tensor(new Float32Array(STEPS).fill(0.005)),
  })
})

run()
