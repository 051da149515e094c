// Decisions that are made once for a call and kept must give the values of the call at hand, and stay bounded.
import * as assert from 'uvu/assert'
import { requestDevice, scope, type Tensor, tensor } from '../../engine/index.ts'
import { byLayouts, byNumber } from '../../engine/layout/layoutMemo.ts'
import { equalLayouts, rowMajor, tensorLayout } from '../../engine/layout/tensorLayout.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('eager ops')

test('equal layouts are one object, until the table begins anew', () => {
  const [before, other] = [rowMajor([3, 4]), rowMajor([3, 4])]
  assert.is(before, other)
  assert.is(before, tensorLayout({ shape: [3, 4], strides: [4, 1], offset: 0 }))
  assert.is.not(before, tensorLayout({ shape: [3, 4], strides: [4, 1], offset: 4 }))
  assert.is.not(before, tensorLayout({ shape: [3, 4], strides: [1, 3], offset: 0 }))
  for (let offset = 0; offset < 5000; offset++) tensorLayout({ shape: [1], strides: [1], offset })
  assert.is.not(before, rowMajor([3, 4]))
  assert.ok(equalLayouts(before, rowMajor([3, 4])))
})

test('memos make each result once, and keep a bounded number', () => {
  let made = 0
  const pair = byLayouts((a, b) => `${++made}: ${a.shape} ${b.shape}`)
  assert.is(pair(rowMajor([2]), rowMajor([3])), '1: 2 3')
  assert.is(pair(rowMajor([2]), rowMajor([3])), '1: 2 3')
  assert.is(pair(rowMajor([3]), rowMajor([2])), '2: 3 2')
  for (let n = 0; n < 2000; n++) pair(rowMajor([2]), tensorLayout({ shape: [2], strides: [1], offset: n }))
  assert.match(pair(rowMajor([2]), rowMajor([3])), / 2 3$/)
  const signed = byNumber((value) => 1 / value)
  assert.is(signed(0), Number.POSITIVE_INFINITY)
  assert.is(signed(-0), Number.NEGATIVE_INFINITY)
})

test('calls that alternate between shapes, numbers and strides keep their own parameters', async () => {
  const x = tensor(Float32Array.from({ length: 12 }, (_, i) => i))
  const out = scope(() => {
    const results: Tensor[] = []
    for (let i = 0; i < 300; i++) {
      const part = x.slice([[0, 1 + (i % 7)]])
      results.push(
        part
          .mul(i % 5)
          .add(part)
          .sum(),
      )
      const matrix = x.reshape([3, 4])
      results.push((i % 2 ? matrix.transpose(0, 1).reshape([12]) : x).mul(x).sum())
    }
    return results
  })
  for (const [k, t] of out.entries()) {
    const i = Math.floor(k / 2)
    const n = i % 7
    const transposed = Array.from({ length: 12 }, (_, j) => (j % 3) * 4 + Math.floor(j / 3))
    const products = transposed.reduce((sum, value, j) => sum + (i % 2 ? value : j) * j, 0)
    assert.is(await t.item(), k % 2 ? products : (((i % 5) + 1) * n * (n + 1)) / 2)
    t.dispose()
  }
})

test('a variant that is pinned after a call was decided is taken, and given up again', async () => {
  const [a, b] = [tensor([1, 2, 3]), tensor([4, 5, 6])]
  const kernelsOf = async () => {
    const before = device.pipelines.size
    assert.equal([...(await scope(() => a.mul(b)).data())], [4, 10, 18])
    return device.pipelines.size - before
  }
  await kernelsOf()
  assert.is(await kernelsOf(), 0)
  device.kernels.pinned.set('binary', 'strided')
  assert.is(await kernelsOf(), 1)
  device.kernels.pinned.delete('binary')
  assert.is(await kernelsOf(), 0)
})

run()
