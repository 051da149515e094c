import { join } from 'node:path'
import * as v from 'valibot'
import { amount, count, fields, listOf, numberOrNaN, text } from '../../../engine/base/json.ts'
import type { Figure, Row } from './figure.ts'
import { type Note, readJson } from './files.ts'

const EXPANSION = fields({
  format: v.optional(count),
  dataset: text,
  split: text,
  tasks: listOf(fields({ name: text, train: count, test: count })),
  base: fields({ branches: count, parameters: amount, accuracy: amount }),
  arms: listOf(
    fields({
      arm: text,
      stages: listOf(
        fields({
          tasks: count,
          branches: count,
          parameters: amount,
          old: amount,
          new: amount,
          forgetting: numberOrNaN,
          optimizerSteps: count,
          seconds: amount,
        }),
      ),
    }),
  ),
})

/** The content of expansion.json. */
export type Expansion = v.InferOutput<typeof EXPANSION>

/** Reads the results of `paraformer expand` in a folder, if they are there. @throws UserError when they are of a newer format */
export function readExpansion(folder: string, note: Note): Promise<Expansion | undefined> {
  return readJson(join(folder, 'expansion.json'), EXPANSION, note)
}

const MEASURES = ['old tasks', 'new task', 'forgetting']

/** Draws old and new accuracy and forgetting of each way to learn, after each task. */
export function expansionFigures(name: string, { dataset, split, tasks, base, arms }: Expansion): Figure[] {
  const values: Row[] = arms.flatMap(({ arm, stages }) =>
    stages.flatMap((stage) => {
      const after = `after task ${stage.tasks}`
      return [stage.old, stage.new, stage.forgetting].map((value, i) => ({
        ...{ arm, after, measure: MEASURES[i]!, value: Number.isFinite(value) ? value : null },
      }))
    }),
  )
  if (values.length === 0) return []
  const order = arms.map(({ arm }) => arm)
  const measure = { field: 'measure', type: 'nominal', title: null }
  return [
    {
      title: `Expansion of ${name}: what is learned and what is forgotten`,
      description:
        `Tasks of ${dataset}, split by ${split}: ${tasks.map((task) => task.name).join('; ')}. Test accuracy on the tasks before and on the new one, and ` +
        `forgetting: the best accuracy so far less that of now. The base has ${base.branches} branches and ${(100 * base.accuracy).toFixed(2)} % on task 1.`,
      spec: {
        data: { values },
        facet: { row: { field: 'after', type: 'nominal', title: null, header: { labelAngle: 0, labelAlign: 'left' } } },
        spec: {
          width: 560,
          height: { step: 30 },
          mark: { type: 'point', size: 90, filled: true },
          encoding: {
            x: { field: 'value', type: 'quantitative', title: 'share of the test images', axis: { format: '.0%' } },
            y: { field: 'arm', type: 'nominal', title: null, sort: order, axis: { grid: true } },
            color: { ...measure, scale: { domain: MEASURES, range: ['var(--arm1)', 'var(--arm2)', 'var(--arm7)'] } },
            shape: { ...measure, scale: { domain: MEASURES, range: ['circle', 'square', 'cross'] } },
          },
        },
      },
      table: {
        columns: ['arm', 'tasks', 'branches', 'parameters', 'old', 'new', 'forgetting', 'optimizer steps', 'seconds'],
        rows: arms.flatMap(({ arm, stages }) =>
          stages.map((stage) => [
            ...[arm, stage.tasks, stage.branches, stage.parameters, stage.old, stage.new, stage.forgetting],
            ...[stage.optimizerSteps, stage.seconds],
          ]),
        ),
      },
    },
  ]
}
