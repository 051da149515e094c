import * as assert from 'uvu/assert'
import { ArgumentError, UserError } from '../../engine/index.ts'
import { forgettingOf } from '../../train/study/expand/forgetting.ts'
import {
  classGroups,
  classTasks,
  datasetTasks,
  join,
  permutedTasks,
  rotatedTasks,
  sample,
  select,
} from '../../train/study/expand/splits.ts'
import { suite } from '../harness/suite.ts'
import { throws } from '../train/userError.ts'

const { test, run } = suite('splits')

/** Images of 2 channels and 2 x 2 pixels that count up, with labels 0 to 3. */
function source(name: 'mnist' | 'fashion-mnist' = 'mnist') {
  const count = 8
  const images = Uint8Array.from({ length: count * 8 }, (_, i) => i)
  const split = { images, labels: Uint8Array.of(0, 1, 2, 3, 3, 2, 1, 0), count }
  return { name, channels: 2, height: 2, width: 2, classes: 4, train: split, test: split, classNames: ['a', 'b', 'c', 'd'] }
}

test('classes are divided in order, by a seed, or after those that are known', () => {
  assert.equal(classGroups(10, 3), [
    [0, 1, 2],
    [3, 4, 5, 6],
    [7, 8, 9],
  ])
  assert.equal(classGroups(4, 4), [[0], [1], [2], [3]])
  const seeded = classGroups(10, 2, { seed: 1 })
  assert.equal(seeded, classGroups(10, 2, { seed: 1 }))
  assert.not.equal(seeded, classGroups(10, 2, { seed: 2 }))
  assert.equal(
    seeded.flat().sort(),
    Array.from({ length: 10 }, (_, i) => i),
  )
  assert.equal(
    seeded.map((group) => group.length),
    [5, 5],
  )
  assert.equal(classGroups(6, 3, { known: [4, 1] }), [
    [4, 1],
    [0, 2],
    [3, 5],
  ])
  throws(() => classGroups(4, 5), /5 tasks cannot share the 4 classes; choose from 2 to 4/, UserError)
  throws(() => classGroups(4, 1), /1 tasks cannot share/, UserError)
  throws(() => classGroups(4, 4, { known: [0, 1] }), /choose from 2 to 3/, UserError)
  throws(() => classGroups(4, 2, { known: [0, 1, 2, 3] }), /knows all 4 classes/, UserError)
})

test('tasks of classes have their images alone, and labels in the order of the groups', () => {
  const [earlier, later] = classTasks(source(), [
    [2, 0],
    [3, 1],
  ])
  assert.equal([earlier!.classes, later!.classes, earlier!.name, later!.name], [2, 4, 'c, a', 'd, b'])
  assert.equal(Array.from(earlier!.train.labels), [1, 0, 0, 1])
  assert.equal(Array.from(later!.train.labels), [3, 2, 2, 3])
  const first = [0, 2, 5, 7].flatMap((image) => Array.from({ length: 8 }, (_, i) => 8 * image + i))
  assert.equal(Array.from(earlier!.test.images), first)
})

test('pixels are permuted alike in all images and channels, in each task otherwise; the first task is as it was', () => {
  const [plain, second, third] = permutedTasks(source(), 3, 5)
  assert.equal(Array.from(plain!.train.images), Array.from(source().train.images))
  const order = Array.from(second!.train.images.subarray(0, 4))
  assert.equal([...order].sort(), [0, 1, 2, 3])
  assert.equal(
    Array.from(second!.train.images),
    Array.from({ length: 64 }, (_, at) => at - (at % 4) + order[at % 4]!),
  )
  assert.equal(Array.from(second!.test.images), Array.from(second!.train.images))
  const seeds = [5, 6, 7, 8].map((seed) =>
    permutedTasks(source(), 3, seed)
      .slice(1)
      .map(({ train }) => train.images.subarray(0, 4).join()),
  )
  assert.equal(
    seeds[0],
    [second, third].map((task) => task!.train.images.subarray(0, 4).join()),
  )
  assert.ok(new Set(seeds.flat()).size > 3, 'seeds and tasks differ')
  assert.equal(Array.from(third!.train.labels), Array.from(source().train.labels))
})

test('tasks are rotated by equal parts of a turn', () => {
  const tasks = rotatedTasks(source(), 4)
  assert.equal(
    tasks.map(({ name }) => name),
    ['0 degrees', '90 degrees', '180 degrees', '270 degrees'],
  )
  const image = (t: number) => Array.from(tasks[t]!.train.images.subarray(8, 12))
  assert.equal([0, 1, 2, 3].map(image), [
    [8, 9, 10, 11],
    [9, 11, 8, 10],
    [11, 10, 9, 8],
    [10, 8, 11, 9],
  ])
})

test('another data set has equal shape', () => {
  const [mnist, fashion] = datasetTasks(source(), source('fashion-mnist'))
  assert.equal([mnist!.name, fashion!.name, fashion!.classes], ['mnist', 'fashion-mnist', 4])
  throws(
    () => datasetTasks(source(), { ...source(), classes: 5 }),
    /mnist has classes 4, mnist 5; choose data sets of equal shape/,
    UserError,
  )
})

test('arguments of a wrong kind', () => {
  const refuses = (call: () => unknown, message: RegExp) => throws(call, message, ArgumentError)
  const wrong = (change: object) => ({ ...source(), ...change })
  refuses(() => classGroups(2.5, 2), /^classGroups: got 2\.5 as classes/)
  refuses(() => classGroups(4, '2' as never), /^classGroups: got "2" as tasks, takes a number/)
  refuses(() => classGroups(4, 2, { seeds: 1 } as never), /^classGroups: unknown option "seeds" \(did you mean "seed"\?\)/)
  refuses(() => classGroups(4, 2, { seed: 0.5 }), /^classGroups: got 0\.5 as seed/)
  refuses(() => classGroups(4, 2, { known: [4] }), /^classGroups: got 4 as known, takes a whole number from 0 to 3/)
  refuses(() => classGroups(4, 2, { known: [1, 1] }), /^classGroups: got class 1 twice in known/)
  refuses(() => classTasks(source(), []), /^classTasks: got \[\] as groups/)
  refuses(() => classTasks(source(), [[0], []]), /^classTasks: got \[\] as groups\[1\]/)
  refuses(() => classTasks(source(), [[0], [4]]), /^classTasks: got 4 as groups, takes a whole number from 0 to 3/)
  refuses(() => classTasks(source(), [[0, 1], [1]]), /^classTasks: got class 1 twice in groups/)
  refuses(() => permutedTasks(source(), 0, 1), /^permutedTasks: got 0 as tasks/)
  refuses(() => permutedTasks(source(), 2, -1), /^permutedTasks: got -1 as seed/)
  refuses(() => rotatedTasks(wrong({ train: undefined }) as never, 2), /^rotatedTasks: got undefined as source\.train/)
  refuses(
    () => rotatedTasks(wrong({ height: 3 }), 2),
    /^rotatedTasks: got Uint8Array\(64\) as source\.train\.images, takes a Uint8Array of 96/,
  )
  const short = { ...source().test, labels: new Uint8Array(7) }
  refuses(() => datasetTasks(source(), wrong({ test: short })), /^datasetTasks: got Uint8Array\(7\) as second\.test\.labels/)
})

test('splits are joined and sampled', () => {
  const { train } = source()
  const part = select(train, Int32Array.of(3, 0))
  assert.equal([Array.from(part.labels), part.images[0], part.images[8]], [[3, 0], 24, 0])
  const both = join([part, train])
  assert.equal([both.count, both.images.length, both.labels[2], both.images[16]], [10, 80, 0, 0])
  const half = sample(train, 0.5, 3)
  assert.is(half.count, 4)
  assert.equal(half, sample(train, 0.5, 3))
  assert.is(sample(train, 1, 3), train)
  assert.is(sample(train, 0, 3).count, 0)
})

test('forgetting is the best accuracy so far less that of now, by task', () => {
  assert.is(forgettingOf([[0.9], [0.7, 0.8]]), 0.9 - 0.7)
  // Task 1 was best at first, task 2 after task 3.
  const table = [[0.9], [0.5, 0.6], [0.7, 0.75, 0.5], [0.625, 0.5, 0.25, 1]]
  assert.ok(Math.abs(forgettingOf(table) - (0.275 + 0.25 + 0.25) / 3) < 1e-15)
  // An accuracy that rises later is a gain, so forgetting is negative.
  assert.ok(Math.abs(forgettingOf([[0.5], [0.75, 1]]) + 0.25) < 1e-15)
})

run()
