// A captured function leaves, adds to and clears gradients as the function itself does.
import * as assert from 'uvu/assert'
import { capture, requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import { AdamW } from '../../train/index.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`gradients of captures on ${device.summary.name}`)

/** The values of some training steps. @param wrap captures the forward and backward pass, or leaves it as it is */
async function trainedBy(wrap: (pass: (x: Tensor) => Tensor) => (x: Tensor) => Tensor): Promise<number[][]> {
  const w = tensor([2, -1], { requiresGrad: true })
  const seen: number[][] = []
  const see = async (t: Tensor) => void seen.push([...(await t.data())])
  let optimizer = new AdamW([w])
  const pass = wrap((x) => {
    const loss = w.mul(w).mul(x).sum()
    loss.backward()
    return loss
  })
  const step = () => {
    optimizer.step(0.1)
    optimizer.zeroGrad()
  }
  for (const parts of [1, 1, 3, 2, 1]) {
    // The gradients of several mini-batches add up, and are cleared outside the pass.
    for (let i = 0; i < parts; i++) await see(pass(tensor([1, i + 0.5])))
    await see(w.grad!)
    step()
    assert.is(w.grad, undefined)
    await see(w)
  }
  // Another optimizer has other memory for gradients.
  optimizer.dispose()
  optimizer = new AdamW([w])
  for (let i = 0; i < 2; i++) {
    await see(pass(tensor([1, i])))
    step()
    await see(w)
  }
  // Without an optimizer, gradients have no fixed place in memory.
  optimizer.dispose()
  for (let i = 0; i < 3; i++) {
    await see(pass(tensor([1, i])))
    await see(w.grad!)
  }
  return seen
}

test('a pass is captured, the optimizer steps and clears the gradients outside: what it leaves behind is as eager', async () => {
  const captures: { statistics: readonly unknown[]; dispose(): void }[] = []
  const captured = await trainedBy((pass) => {
    const step = capture(pass)
    captures.push(step)
    return step
  })
  assert.equal(captured, await trainedBy((pass) => pass))
  // There is a recording with gradients to add to and one without, but not one for each call.
  assert.ok(captures[0]!.statistics.length <= 3, `${captures[0]!.statistics.length} recordings`)
})

test('accumulation and step, each captured, in any order', async () => {
  const runs = await Promise.all(
    [true, false].map(async (captures) => {
      const w = tensor([2, -1], { requiresGrad: true })
      const optimizer = new AdamW([w])
      optimizer.lr = 0.1
      const wrap = <I extends Tensor[], R>(fn: (...inputs: I) => R) => (captures ? capture(fn) : fn)
      const pass = wrap((x: Tensor) => {
        const loss = w.mul(w).mul(x).sum()
        loss.backward()
        return loss
      })
      const step = wrap(() => {
        optimizer.step(optimizer.lr)
        optimizer.zeroGrad()
      })
      const seen: number[] = []
      for (const parts of [2, 1, 3, 2]) {
        for (let i = 0; i < parts; i++) pass(tensor([1, i]))
        step()
        assert.is(w.grad, undefined)
        seen.push(...(await w.data()))
      }
      return seen
    }),
  )
  assert.equal(runs[0], runs[1])
})

test('a function that throws while it is recorded leaves gradients as they were', async () => {
  for (const optimizer of [true, false]) {
    const w = tensor([2, -1], { requiresGrad: true })
    const owner = optimizer ? new AdamW([w]) : undefined
    const fails = capture(() => {
      w.sum().backward()
      throw new Error('after backward')
    })
    assert.throws(fails, /after backward/)
    assert.is(w.grad, undefined)
    w.mul(3).sum().backward()
    assert.throws(fails, /after backward/)
    w.mul(1).sum().backward()
    assert.equal([...(await w.grad!.data())], [4, 4])
    owner?.dispose()
  }
})

test('ends', () => device.destroy())

run()
