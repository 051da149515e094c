import { mean } from '../statistics/index.ts'

/**
 * Returns the forgetting after the last task: the mean over the tasks before it of the best accuracy that the model ever had on the task
 * less the accuracy that it has now (arXiv 1801.10112).
 * @param table accuracies after each task, on that task and those before it
 */
export function forgettingOf(table: readonly (readonly number[])[]): number {
  const now = table.at(-1)!
  const before = table.slice(0, -1)
  return mean(before.map((_, task) => Math.max(...before.slice(task).map((row) => row[task]!)) - now[task]!))
}
