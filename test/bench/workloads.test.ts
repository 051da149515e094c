import { expectedOutput } from '../../bench/expected.ts'
import { operandsOf, parametersOf } from '../../bench/operands.ts'
import { opTarget } from '../../bench/opTargets.ts'
import { prepareOurs } from '../../bench/ours.ts'
import { checkComputed, disposeAll } from '../../bench/outputs.ts'
import { SMALL_WORKLOADS } from '../../bench/smallWorkloads.ts'
import { knownDifference } from '../../bench/statistics.ts'
import { type Prepared, within } from '../../bench/target.ts'
import { Training } from '../../bench/training.ts'
import { costOf, type Workload } from '../../bench/workloads.ts'
import { requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`workloads on ${device.summary.name}`)

for (const w of SMALL_WORKLOADS) {
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
    const found = await training.checkReplay('wrong').then(
      () => '',
      (error: Error) => error.message,
    )
    if (!message.test(found)) throw new Error(`said "${found}"`)
    training.dispose()
  }
  const still = tensor([1, 2, 3], { requiresGrad: true })
  const training = new Training({ parameters: [['still', still]], loss: () => still.mul(0).sum() })
  const found = await training.checkReplay('still').then(
    () => '',
    (error: Error) => error.message,
  )
  if (!found.includes('a step leaves all parameters as they were')) throw new Error(`said "${found}"`)
})

test('timed steps that move nothing are found', async () => {
  const w: Workload = { kind: 'mlpStep', batch: 12, inputs: 30, hidden: 18, classes: 5 }
  const target = opTarget(w)
  const said = async (spoil: (prepared: Prepared) => void) => {
    const prepared = target.prepare(device)
    await prepared.check()
    spoil(prepared)
    const outcome = await Promise.resolve(prepared.confirm([[1]])).then(
      () => 'nothing',
      (error: Error) => error.message,
    )
    prepared.dispose()
    return outcome
  }
  const idle = await said(() => {})
  if (!idle.includes('left all parameters as they were')) throw new Error(`said ${idle}`)
  const good = await said(({ record }) => disposeAll(record()))
  if (good !== 'nothing') throw new Error(`said ${good}`)
})

test('expected values know their rows: a sample, and NaN for the rest', () => {
  const w: Workload = { kind: 'matmul', form: 'NN', batch: 1, m: 100, k: 3, n: 2 }
  const expected = expectedOutput(w, operandsOf(w))!
  const known = expected.filter((value) => !Number.isNaN(value)).length
  if (known !== 8 * 2) throw new Error(`${known} values are known, expected 16`)
})

test('ends', () => device.destroy())

run()
