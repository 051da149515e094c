import * as assert from 'uvu/assert'
import { evaluationMetrics, stepMetrics } from '../../train/run/metrics.ts'
import { parseMetrics } from '../../train/run/readMetrics.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('lines of metrics')
const lines = (...values: unknown[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('')

const report = {
  ...{ epoch: 1, pass: 0, position: { epoch: 1, pass: 0, batch: 3, step: 11, updates: 22 }, time: 4.5, flops: 900 },
  ...{ losses: [[2.5, 2.75, 2]], accuracies: [[0.25, 0.5, 0.75]], firstPrefixes: [1], norms: [3], lossScale: undefined },
  ...{ lr: 1e-3, images: 8 },
}

test('a mini-batch has a line for each prefix; the last one counts the prefixes that are worse than the one before', () => {
  const found = stepMetrics(report, 100)
  assert.equal(
    found.map(({ prefix, loss, accuracy, violations }) => [prefix, loss, accuracy, violations]),
    [
      [1, 2.5, 0.25, undefined],
      [2, 2.75, 0.5, undefined],
      [3, 2, 0.75, 1],
    ],
  )
  for (const { time, epoch, pass, step, split, lr, norm, flops } of found)
    assert.equal([time, epoch, pass, step, split, lr, norm, flops], [4.5, 1, 0, 11, 'train', 1e-3, 3, 900])
})

test('a mini-batch of several optimizer steps has lines for each, with its own prefix and norm, and counts no violations', () => {
  const steps = { losses: [[2.5], [2.75]], accuracies: [[0.25], [0.5]], firstPrefixes: [1, 2], norms: [3, 4] }
  assert.equal(
    stepMetrics({ ...report, ...steps }, 100).map(({ prefix, loss, norm, violations }) => [prefix, loss, norm, violations]),
    [
      [1, 2.5, 3, undefined],
      [2, 2.75, 4, undefined],
    ],
  )
})

test('what is written is read again, with NaN for what JSON does not hold, and lines that are no metrics left out', () => {
  const at = { time: 5, epoch: 1, pass: 1, step: 16, split: 'validation', flops: 1000 } as const
  const evaluation = evaluationMetrics({ images: 10, losses: [Number.NaN, 2], accuracies: [0, 1] }, at)
  const written = [...stepMetrics(report, 100), ...evaluation]
  const text = `# a note\n${lines(...written)}{"time":1,"ep\n{"step":3}\n`
  assert.equal(
    parseMetrics(text),
    JSON.parse(JSON.stringify(written)).map((metric: object, i: number) =>
      i === 3 ? { ...metric, loss: Number.NaN } : metric,
    ),
  )
  assert.is(evaluation[1]!.violations, 1)
})

test('lines of former versions become flat ones', () => {
  const step = { kind: 'step', step: 1, epoch: 0, lr: 0.5, imagesPerSecond: 9 }
  const epoch = {
    kind: 'epoch',
    step: 2,
    epoch: 0,
    split: 'test',
    losses: [2, 3],
    accuracies: [0.5, 1],
    violations: 1,
    seconds: 7,
  }
  const all = { ...step, losses: [[2.5, 2]], accuracies: [[0.5, 1]], norms: [3] }
  const each = { ...step, losses: [[2.5], [2]], accuracies: [[0.5], [1]], norms: [3, 4] }
  const sum = { ...step, losses: [[2]], accuracies: [[1]], norms: [3] }
  const found = (value: object) =>
    parseMetrics(lines(value, epoch)).map(({ split, step, prefix, loss, norm, violations, time }) =>
      [split, step, prefix, loss, norm, violations, time].join(),
    )
  const evaluated = ['test,2,1,2,,,7', 'test,2,2,3,,1,7']
  assert.equal(found(all), ['train,1,1,2.5,3,,NaN', 'train,1,2,2,3,0,NaN', ...evaluated])
  assert.equal(found(each), ['train,1,1,2.5,3,,NaN', 'train,1,2,2,4,,NaN', ...evaluated])
  assert.equal(found(sum), ['train,1,2,2,3,,NaN', ...evaluated])
})

run()
