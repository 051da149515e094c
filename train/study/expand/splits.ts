import { checkList, checkNumber, checkWhole } from '../../../engine/base/checks.ts'
import { checkOptions } from '../../../engine/base/options.ts'
import { UserError } from '../../../engine/index.ts'
import { rotate } from '../../../kernels/augment/imageOps.ts'
import { CounterRandom } from '../../../kernels/random/counterRandom.ts'
import { CONFIG_LIMITS } from '../../../model/index.ts'
import type { Dataset } from '../../data/datasets.ts'
import { Purpose, shuffle, splitIndices } from '../../data/random.ts'
import type { Split } from '../../data/split.ts'
import type { Settings } from '../../settings.ts'
import { checkClasses, checkSource } from './checks.ts'

/**
 * Ways to make a sequence of tasks: `classes`, groups of the classes one after the other; `permuted`, a fixed permutation of the pixels
 * for each task; `rotated`, a fixed rotation; `dataset`, another data set of equal shape.
 */
export const SPLITS = ['classes', 'permuted', 'rotated', 'dataset'] as const
export type SplitName = (typeof SPLITS)[number]

/** One task of a sequence. */
export interface Task {
  name: string
  /** Images of this task alone. Labels are classes in the order in which the tasks bring them. */
  train: Split
  test: Split
  /** Number of classes of this task and those before it. */
  classes: number
}

/** Images and labels of a data set, from which tasks are made. */
export type TaskSource = Pick<Dataset, 'name' | 'channels' | 'height' | 'width' | 'classes' | 'train' | 'test' | 'classNames'>

/**
 * Divides the classes 0 to `classes` - 1 into groups of about the same size.
 * @param options.seed shuffles the classes; without it they come in order
 * @param options.known the classes of the first group; the others are divided among the rest
 * @throws UserError for fewer than 2 tasks, and more tasks than classes; ArgumentError for arguments of a wrong kind
 */
export function classGroups(
  classes: number,
  tasks: number,
  options: { seed?: number | undefined; known?: readonly number[] | undefined } = {},
): number[][] {
  checkWhole('classGroups', classes, 'classes', 1, CONFIG_LIMITS.classes)
  checkNumber('classGroups', tasks, 'tasks')
  checkOptions('classGroups', options, { seed: true, known: true })
  const { seed, known } = options
  if (seed !== undefined) checkWhole('classGroups', seed, 'seed', 0)
  if (known !== undefined) checkClasses('classGroups', known, classes, 'known')
  const order = Int32Array.from({ length: classes }, (_, i) => i)
  if (seed !== undefined) shuffle(order, new CounterRandom(seed, [0, 1, Purpose.split]))
  const first = known ? [[...known]] : []
  const rest = Array.from(order).filter((label) => !known?.includes(label))
  const groups = tasks - first.length
  if (!(Number.isSafeInteger(tasks) && tasks >= 2 && groups <= rest.length)) {
    const most = rest.length + first.length
    throw new UserError(
      most < 2
        ? `the model knows all ${classes} classes, which leaves none to learn; use one that was trained on some of them`
        : `${tasks} tasks cannot share the ${classes} classes; choose from 2 to ${most}`,
    )
  }
  const cut = (g: number) => Math.round((g * rest.length) / groups)
  return [...first, ...Array.from({ length: groups }, (_, g) => rest.slice(cut(g), cut(g + 1)))]
}

/**
 * Makes a task of each group of classes. The labels of a group follow those of the groups before it.
 * @throws ArgumentError for arguments of a wrong kind, and for a class that the source lacks or that is in the groups twice
 */
export function classTasks(source: TaskSource, groups: readonly (readonly number[])[]): Task[] {
  checkSource('classTasks', source)
  checkList('classTasks', groups, 'a list of groups of classes', 'groups', 1)
  for (const [i, group] of groups.entries()) checkList('classTasks', group, 'a list of classes', `groups[${i}]`, 1)
  checkClasses('classTasks', groups.flat(), source.classes, 'groups')
  const order = groups.flat()
  const label = new Map(order.map((old, i) => [old, i]))
  let classes = 0
  return groups.map((group) => {
    classes += group.length
    const part = (split: Split) => {
      const wanted = new Set(group)
      const indices = Int32Array.from(split.labels.keys()).filter((i) => wanted.has(split.labels[i]!))
      const chosen = select(split, indices)
      return { ...chosen, labels: chosen.labels.map((old) => label.get(old)!) }
    }
    const names = group.map((old) => source.classNames?.[old] ?? String(old))
    return { name: names.join(', '), train: part(source.train), test: part(source.test), classes }
  })
}

/**
 * Makes tasks of the same classes, whose pixels are permuted, each by its own seeded permutation; the first one stays as it is.
 * @throws ArgumentError for arguments of a wrong kind
 */
export function permutedTasks(source: TaskSource, tasks: number, seed: number): Task[] {
  checkSource('permutedTasks', source)
  checkWhole('permutedTasks', tasks, 'tasks')
  checkWhole('permutedTasks', seed, 'seed', 0)
  const pixels = source.height * source.width
  return domains(source, tasks, (t) => {
    const order = Int32Array.from({ length: pixels }, (_, i) => i)
    if (t > 0) shuffle(order, new CounterRandom(seed, [t, 2, Purpose.split]))
    const permute = (image: Uint8Array) => image.map((_, at) => image[at - (at % pixels) + order[at % pixels]!]!)
    return { name: t === 0 ? source.name : `permutation ${t}`, change: permute }
  })
}

/**
 * Makes tasks of the same classes that share out a full turn: task t of n is rotated by t / n of it, the first one not at all.
 * @throws ArgumentError for arguments of a wrong kind
 */
export function rotatedTasks(source: TaskSource, tasks: number): Task[] {
  checkSource('rotatedTasks', source)
  checkWhole('rotatedTasks', tasks, 'tasks')
  const { height, width } = source
  return domains(source, tasks, (t) => {
    const degrees = (360 * t) / tasks
    return { name: `${Math.round(degrees)} degrees`, change: (image) => rotate(image, height, width, degrees) }
  })
}

/**
 * Makes a task of each of two data sets.
 * @throws UserError when their images or classes differ in shape or number; ArgumentError for arguments of a wrong kind
 */
export function datasetTasks(first: TaskSource, second: TaskSource): Task[] {
  checkSource('datasetTasks', first, 'first')
  checkSource('datasetTasks', second, 'second')
  for (const key of ['channels', 'height', 'width', 'classes'] as const) {
    if (first[key] !== second[key]) {
      throw new UserError(
        `${first.name} has ${key} ${first[key]}, ${second.name} ${second[key]}; choose data sets of equal shape`,
      )
    }
  }
  return [first, second].map(({ name, train, test, classes }) => ({ name, train, test, classes }))
}

/** Makes tasks whose images are changed. @param changeOf gives the name of task t, and how its images are changed */
function domains(
  source: TaskSource,
  tasks: number,
  changeOf: (t: number) => { name: string; change: (image: Uint8Array) => Uint8Array },
): Task[] {
  const pixels = source.channels * source.height * source.width
  return Array.from({ length: tasks }, (_, t) => {
    const { name, change } = changeOf(t)
    const part = (split: Split): Split => {
      if (t === 0) return split
      const images = new Uint8Array(split.images.length)
      for (let at = 0; at < images.length; at += pixels) images.set(change(split.images.subarray(at, at + pixels)), at)
      return { ...split, images }
    }
    return { name, train: part(source.train), test: part(source.test), classes: source.classes }
  })
}

/** Keeps the first images of a task, as many as the settings say. */
export function limited(task: Task, { trainImages, testImages }: Pick<Settings, 'trainImages' | 'testImages'>): Task {
  const kept = (split: Split, images: number | undefined) =>
    images === undefined
      ? split
      : select(
          split,
          Int32Array.from({ length: Math.min(images, split.count) }, (_, i) => i),
        )
  return { ...task, train: kept(task.train, trainImages), test: kept(task.test, testImages) }
}

/** Copies some images of a split. */
export function select(split: Split, indices: Int32Array): Split {
  const pixels = split.images.length / split.count
  const images = new Uint8Array(indices.length * pixels)
  for (const [to, from] of indices.entries()) {
    images.set(split.images.subarray(from * pixels, (from + 1) * pixels), to * pixels)
  }
  const labelOf = (i: number) => split.labels[i]!
  const wide = split.labels instanceof Uint16Array
  const labels = wide ? Uint16Array.from(indices, labelOf) : Uint8Array.from(indices, labelOf)
  return { images, labels, count: indices.length }
}

/** Copies the images of several splits into one. */
export function join(splits: readonly Split[]): Split {
  const images = new Uint8Array(splits.reduce((sum, split) => sum + split.images.length, 0))
  const total = splits.reduce((sum, split) => sum + split.count, 0)
  const wide = splits.some((split) => split.labels instanceof Uint16Array)
  const labels = wide ? new Uint16Array(total) : new Uint8Array(total)
  let [at, count] = [0, 0]
  for (const split of splits) {
    images.set(split.images, at)
    labels.set(split.labels, count)
    at += split.images.length
    count += split.count
  }
  return { images, labels, count }
}

/** Draws a share of the images of a split, the same ones for the same seed. @param share from 0 to 1 */
export function sample(split: Split, share: number, seed: number): Split {
  if (share >= 1) return split
  return select(split, splitIndices(split.count, share, seed).validation)
}
