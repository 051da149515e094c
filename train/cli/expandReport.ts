import type { Expansion } from '../study/expand/expand.ts'
import { printable } from './printable.ts'
import { compact, percent, table } from './table.ts'

/** Returns the table of an expansion. @param results path of the results */
export function expansionReport({ tasks, base, arms, freeze, softmax, init, replay }: Expansion, results: string): string {
  const rows = arms.flatMap(({ arm, stages }) =>
    stages.map((stage) => [
      arm,
      String(stage.tasks),
      String(stage.branches),
      compact(stage.parameters),
      percent(stage.old),
      percent(stage.new),
      percent(stage.forgetting),
      stage.atPrefix.map(percent).join(', '),
      String(stage.optimizerSteps),
    ]),
  )
  const head = ['arm', 'tasks', 'branches', 'parameters', 'old', 'new', 'forgetting', 'by the prefix of each task', 'steps']
  return [
    ...tasks.map(({ name, train, test }, t) => `task ${t + 1}: ${printable(name)} (${train} training images, ${test} test)`),
    `base: ${base.branches} branches, ${compact(base.parameters)} parameters, ${percent(base.accuracy)} on task 1`,
    table(head, rows),
    `accuracies on test images; expand freezes ${freeze}, new branches begin at ${init}; softmax over ${softmax}; replayed share ${replay}`,
    `results: ${printable(results)}`,
  ].join('\n')
}
