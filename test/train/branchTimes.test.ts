import * as assert from 'uvu/assert'
import { requestDevice } from '../../engine/index.ts'
import { ParaFormer } from '../../model/index.ts'
import { timeBranches } from '../../train/run/branchTimes.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('times of branches')

test('every branch gets a time, a deep one takes longer, and the run is left as it was', async () => {
  const device = await requestDevice()
  device.random.seed = 7
  const sizes = { imageSize: 28, patchSize: 7, channels: 1, classes: 10, dim: 32, heads: 2, dimHead: 16, mlpDim: 64 } as const
  const model = new ParaFormer({ ...sizes, branches: 3 })
  const deep = new ParaFormer({ ...sizes, branches: 1, branchDepth: 6 })
  const { counter } = device.random
  const before = await model.posEmbedding.data()
  const { milliseconds, clock } = await timeBranches(model, 8)
  assert.is(milliseconds.length, 3)
  assert.ok(
    milliseconds.every((time) => time > 0 && time < 60_000),
    milliseconds.join(),
  )
  assert.is(clock, device.gpu.features.has('timestamp-query') ? 'device' : 'host')
  const [whole] = (await timeBranches(deep, 8)).milliseconds
  assert.ok(whole! > Math.min(...milliseconds), `${whole} ms of six layers, ${milliseconds} ms of one`)
  assert.is(device.random.counter, counter)
  assert.is(device.profiler, undefined)
  assert.equal(await model.posEmbedding.data(), before)
  for (const parameter of model.parameters()) assert.is(parameter.grad, undefined)
  device.destroy()
})

run()
