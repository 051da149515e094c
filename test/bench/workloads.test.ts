import { expectedOutput } from '../../bench/expected.ts'
import { operandsOf, parametersOf } from '../../bench/operands.ts'
import { prepareOurs } from '../../bench/ours.ts'
import { checkComputed, disposeAll } from '../../bench/outputs.ts'
import { knownDifference } from '../../bench/statistics.ts'
import { within } from '../../bench/target.ts'
import { Training } from '../../bench/training.ts'
import { costOf, type Workload } from '../../bench/workloads.ts'
import { requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import { DEFAULT_CONFIGS } from '../../model/index.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`workloads on ${device.summary.name}`)

const config = {
  ...DEFAULT_CONFIGS.paraformer,
  imageSize: 12,
  patchSize: 4,
  dim: 20,
  heads: 2,
  dimHead: 6,
  mlpDim: 28,
  branches: 3,
  dropout: 0,
}

const SMALL: Workload[] = [
  ...(['NN', 'NT', 'TN'] as const).flatMap((form): Workload[] => [
    { kind: 'matmul', form, batch: 1, m: 33, k: 17, n: 40 },
    { kind: 'matmul', form, batch: 3, m: 9, k: 20, n: 12 },
  ]),
  { kind: 'softmax', rows: 7, n: 33 },
  { kind: 'layerNorm', rows: 9, n: 31 },
  { kind: 'attention', batch: 2, heads: 3, tokens: 17, width: 16 },
  { kind: 'attention', batch: 2, heads: 3, tokens: 17, width: 16, causal: true },
  { kind: 'attentionStep', batch: 2, heads: 3, tokens: 17, width: 16 },
  { kind: 'maskedSoftmax', batch: 2, heads: 3, tokens: 17 },
  { kind: 'einsum', batch: 2, heads: 3, tokens: 17, width: 16 },
  { kind: 'topk', rows: 7, n: 33, k: 5 },
  { kind: 'sort', rows: 7, n: 33 },
  { kind: 'scatterAdd', rows: 9, width: 1, count: 40 },
  { kind: 'scatterAdd', rows: 9, width: 12, count: 40 },
  { kind: 'conv2d', batch: 2, channels: 5, size: 7 },
  { kind: 'convStep', batch: 2, channels: 5, size: 7 },
  { kind: 'add', n: 1025 },
  { kind: 'addChain', size: 5, ops: 7 },
  { kind: 'mulChain', size: 5, ops: 7 },
  { kind: 'mlpStep', batch: 12, inputs: 30, hidden: 18, classes: 5 },
  { kind: 'blockStep', batch: 3, tokens: 9, dim: 24, heads: 3, mlp: 40 },
  { kind: 'modelStep', batch: 2, config },
]

for (const w of SMALL) {
  test(`${w.kind} ${JSON.stringify({ ...w, config: undefined })}`, async () => {
    const operands = operandsOf(w)
    const running = prepareOurs(device, w, operands)
    const values = await running.values()
    if (running.training) {
      const names = ['loss', ...Object.keys(parametersOf(operands))].sort()
      if (Object.keys(values).sort().join() !== names.join()) throw new Error(`gives ${Object.keys(values)}`)
      await running.training.checkGradient(w.kind)
    } else {
      within(knownDifference(values.out!, expectedOutput(w, operands)!), 1e-5, w.kind)
    }
    for (const outputs of [running.record(), running.ops()]) {
      checkComputed(await Promise.all(outputs.map((output) => output.data())))
      disposeAll(outputs)
    }
    // Only the matrix products of steps are counted, and the least comparisons and additions of order and index, but all operations of ops.
    const { flops } = costOf(w)
    const executed = running.executed()
    const most = running.training
      ? 3 * flops
      : ['topk', 'sort', 'scatterAdd'].includes(w.kind)
        ? Number.POSITIVE_INFINITY
        : flops
    if (!(flops > 0 && executed >= flops && executed <= most)) throw new Error(`${flops} counted, ${executed} executed`)
    running.dispose()
  })
}

test('steps move the parameters, so that they are no empty measurement', async () => {
  const w: Workload = { kind: 'mlpStep', batch: 12, inputs: 30, hidden: 18, classes: 5 }
  const running = prepareOurs(device, w, operandsOf(w))
  const before = (await running.values()).loss![0]!
  for (let i = 0; i < 50; i++) running.record()
  const after = (await running.values()).loss![0]!
  if (!(after < before)) throw new Error(`loss ${before} became ${after}`)
  running.dispose()
})

test('a wrong gradient is found', async () => {
  const x = tensor([1, 2, 3], { requiresGrad: true })
  let calls = 0
  // Only the first loss, which is differentiated, is this function.
  const loss = (): Tensor => (calls++ === 0 ? x.mul(x).sum() : x.mul(x).mul(x).sum())
  const training = new Training({ parameters: [['x', x]], loss })
  let message = ''
  await training.checkGradient('wrong').catch((error: Error) => {
    message = error.message
  })
  if (!message.includes('slope of the loss')) throw new Error(`said "${message}"`)
})

test('a replay that does something else than its ops is found', async () => {
  for (const [i, message] of [/the loss of a replayed step/, /the change that a replayed step makes/].entries()) {
    const x = tensor([1, 2, 3], { requiresGrad: true })
    let calls = 0
    // The capture computes another loss than the ops, or another gradient of the same loss.
    const loss = () => (calls++ === 0 ? x.mul(x).sum() : i === 0 ? x.mul(x).sum().mul(2) : x.mul(x.detach()).sum())
    const training = new Training({ parameters: [['x', x]], loss })
    const found = await training.checkReplay('wrong').catch((error: Error) => error.message)
    if (!message.test(found ?? '')) throw new Error(`said "${found}"`)
    training.dispose()
  }
  const still = tensor([1, 2, 3], { requiresGrad: true })
  const training = new Training({ parameters: [['still', still]], loss: () => still.mul(0).sum() })
  const found = await training.checkReplay('still').catch((error: Error) => error.message)
  if (!found?.includes('a step leaves all parameters as they were')) throw new Error(`said "${found}"`)
})

test('expected values know their rows: a sample, and NaN for the rest', () => {
  const w: Workload = { kind: 'matmul', form: 'NN', batch: 1, m: 100, k: 3, n: 2 }
  const expected = expectedOutput(w, operandsOf(w))!
  const known = expected.filter((value) => !Number.isNaN(value)).length
  if (known !== 8 * 2) throw new Error(`${known} values are known, expected 16`)
})

test('ends', () => device.destroy())

run()
