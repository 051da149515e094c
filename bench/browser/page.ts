// What runs in the page: the bench, and comparisons with peers. The host (chromium.ts) calls these and hears by `report`.
import { requestDevice } from '../../engine/index.ts'
import { budgetOf } from '../doBench.ts'
import { type Answer, answerTask, type Task } from '../peers/answer.ts'
import { type BenchReport, runBench } from '../runBench.ts'
import { type Selection, selectTargets } from '../select.ts'

declare global {
  /** Given by the host. */
  function report(what: Answer | { done: number; of: number; id: string }): Promise<void>
}

/** Runs what a selection means on the browser's device. */
export async function bench(selection: Selection, quick: boolean, time: number | undefined): Promise<BenchReport> {
  const device = await requestDevice()
  const targets = selectTargets(device.capabilities, selection)
  const budget = budgetOf(device.capabilities.software, quick)
  return runBench(device, targets, {
    budget: { ...budget, time: time ?? budget.time },
    flush: !quick,
    onProgress: (done, id) => void report({ done, of: targets.length, id }),
  })
}

/** Compares with a peer; every answer goes to the host. */
export async function compare(task: Task): Promise<void> {
  await answerTask(task, () => requestDevice(), report)
}

/** Whether the browser's device is software. */
export async function describeDevice(): Promise<{ name: string; software: boolean }> {
  const device = await requestDevice()
  const { name, software } = device.summary
  device.destroy()
  return { name, software }
}
