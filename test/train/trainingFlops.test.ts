import * as assert from 'uvu/assert'
import { checkConfig, countFlops } from '../../model/index.ts'
import { FlopCounter, makeScheme, type SchemeName, trainingFlops } from '../../train/schemes/index.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('FLOPs of training')
const M = 4
const SIZES = { imageSize: 8, patchSize: 4, channels: 1, dim: 16, heads: 2, dimHead: 8, mlpDim: 24, classes: 5 }
const config = checkConfig({ architecture: 'paraformer', branches: M, branchDepth: 1, ...SIZES })
const vit = checkConfig({ architecture: 'vit', depth: 3, ...SIZES })
const { stem, branch, head } = countFlops(config)
const of = (name: SchemeName) =>
  makeScheme(name, M).passes.map((pass) => pass.map((objective) => trainingFlops(objective, config)))
const prefix = (k: number) => countFlops(config, { branches: k }).training

test('a step on one prefix costs the training of that prefix, in every scheme that takes such steps', () => {
  const each = [1, 2, 3, 4].map(prefix)
  assert.equal(of('joint'), [[prefix(M)]])
  assert.equal(of('paper'), [each, [prefix(M)]])
  assert.equal(of('randomPrefix'), [each])
})

test('all prefixes at once run each branch once and the head for every prefix', () => {
  assert.equal(of('prefixSum'), [[prefix(M) + 3 * (M - 1) * head]])
  assert.equal(of('independent'), of('prefixSum'))
})

test('greedy runs the frozen branches forward only', () => {
  assert.equal(of('greedy')[0], [prefix(1), ...[2, 3, 4].map((k) => stem + (k - 1) * branch + 3 * (branch + head))])
})

test('a loss at every layer computes all tokens of each, and the head after each', () => {
  const counts = countFlops(vit)
  assert.is(trainingFlops(makeScheme('everyLayer', 1).passes[0]![0]!, vit), 2 * counts.stem + 9 * (counts.layer + counts.head))
  assert.ok(counts.lastLayer < counts.layer)
})

test('what an objective says of itself counts, times the images', () => {
  const counter = new FlopCounter(config)
  const own = { ...makeScheme('joint', M).passes[0]![0]!, flops: () => 7 }
  counter.add([own, own], 8)
  counter.add([own], 4)
  assert.is(counter.total, 7 * 20)
  counter.total = undefined
  counter.add([own], 4)
  assert.is(counter.total, undefined)
})

run()
