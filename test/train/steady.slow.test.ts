import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { MODES, type Mode, type Precision } from '../../model/index.ts'
import { distributeBranches } from '../../train/devices/distribute.ts'
import type { LocalBranchWorker } from '../../train/devices/localBranchWorker.ts'
import {
  AdamW,
  captureStep,
  LossScale,
  makeScheme,
  optimizerStep,
  ParaFormer,
  randn,
  requestDevice,
  tensor,
} from '../../train/index.ts'
import { suite } from '../harness/suite.ts'

const EAGER_STEPS = 10_000
const CAPTURED_STEPS = 5_000
setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

/** Bytes of the heap in use, after a garbage collection. */
function heapUsed(): number {
  gc()
  return process.memoryUsage().heapUsed
}

const device = await requestDevice()
const { test, run } = suite('steady')

test(`${EAGER_STEPS} training steps hold live and pooled bytes, and the heap, steady`, () => hold(EAGER_STEPS))
for (const mode of MODES) {
  test(`${CAPTURED_STEPS} captured steps in mode ${mode} do, too`, () => hold(CAPTURED_STEPS, mode))
}

if (device.capabilities.f16) {
  test('1000 steps in mixed precision do, too', () => hold(1000, undefined, 'mixed'))
  test(`${CAPTURED_STEPS} captured steps in mixed precision do, too`, () => hold(CAPTURED_STEPS, 'coalesced', 'mixed'))
}

test(`${CAPTURED_STEPS} steps on two devices do, too`, () => holdTwo(CAPTURED_STEPS))

function makeModel(): ParaFormer {
  return new ParaFormer({
    ...{
      imageSize: 8,
      patchSize: 4,
      channels: 1,
      dim: 8,
      heads: 2,
      dimHead: 4,
      mlpDim: 8,
      branches: 2,
      branchDepth: 1,
      classes: 4,
    },
  })
}

/** Trains a tiny model on two devices of this process, and compares the memory of both between an early and a late step. */
async function holdTwo(count: number): Promise<void> {
  const distributed = await distributeBranches(makeModel(), { others: [{}], inProcess: true })
  const devices = [device, (distributed.workers[0] as LocalBranchWorker).device]
  distributed.model.train()
  const images = Float32Array.from({ length: 4 * 64 }, (_, i) => Math.sin(i))
  const labels = Int32Array.of(0, 1, 2, 3)
  const objective = makeScheme('prefixSum', 2).passes[0]![0]!
  const train = async (steps: number) => {
    let loss = 0
    for (let i = 0; i < steps; i++) {
      const { losses } = await distributed.updates({ images, labels }, [{ objective, lr: 1e-3 }], { maxNorm: 1 })[0]!
      loss = losses[1]!
    }
    await Promise.all(devices.map((d) => d.synchronize()))
    return loss
  }
  const look = () => ({ memory: devices.map((d) => ({ ...d.memory, pipelines: d.pipelines.size })), heap: heapUsed() })
  const first = await train(500)
  const before = look()
  const last = await train(count)
  const after = look()
  await distributed.close()
  const shown = JSON.stringify({ before, after, first, last })
  if (!(last < first)) throw new Error(`the loss did not fall: ${shown}`)
  // Peaks depend on when transfers arrive, so they are not compared.
  const steady = ({ memory }: typeof before) =>
    JSON.stringify(memory.map(({ liveBytes, buffers, pipelines }) => [liveBytes, buffers, pipelines]))
  if (steady(after) !== steady(before) || after.heap > before.heap + (16 << 20)) throw new Error(shown)
}

/** Trains a tiny model, and compares memory between an early and a late step. With a mode, steps are captured. */
async function hold(count: number, mode?: Mode, precision: Precision = 'f32'): Promise<void> {
  const model = makeModel()
  model.train()
  model.precision = precision
  const optimizer = new AdamW(model.namedParameters(), precision === 'mixed' ? { lossScale: new LossScale() } : {})
  const images = randn([4, 1, 8, 8])
  const labels = tensor(Int32Array.of(0, 1, 2, 3))
  const objective = makeScheme('prefixSum', 2, { mode: mode ?? 'serial' }).passes[0]![0]!
  const captured = mode && captureStep(model, optimizer, objective, 1)
  const train = async (steps: number) => {
    let loss = 0
    for (let i = 0; i < steps; i++) {
      const batches = [{ images, labels, share: 1 }]
      const { losses, predicted, norm } =
        captured?.(batches, 1e-3) ?? optimizerStep(model, optimizer, objective, batches, 1e-3, 1)
      if (i % 50 === 0) loss = (await losses.data())[1]!
      losses.dispose()
      predicted.dispose()
      norm.dispose()
    }
    await device.synchronize()
    return loss
  }
  const first = await train(500)
  const before = { ...device.memory, heap: heapUsed(), pipelines: device.pipelines.size }
  const last = await train(count)
  const after = { ...device.memory, heap: heapUsed(), pipelines: device.pipelines.size }
  // The garbage collector would free these during the next test.
  for (const resource of [captured, optimizer, model, images, labels]) resource?.dispose()
  const shown = JSON.stringify({ before, after, first, last })
  if (!(last < first)) throw new Error(`the loss did not fall: ${shown}`)
  if (after.liveBytes !== before.liveBytes || after.cachedBytes !== before.cachedBytes || after.buffers !== before.buffers)
    throw new Error(shown)
  if (after.pipelines !== before.pipelines || after.heap > before.heap + (16 << 20)) throw new Error(shown)
}

test('ends', () => device.destroy())
run()
