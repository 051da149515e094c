// These functions run in the page: the bench, and comparisons with peers. The host calls them (chromium.ts) and gets what they
// report.
import { requestDevice } from '../../engine/index.ts'
import { budgetOf } from '../doBench.ts'
import { type Answer, answerTask, type Task } from '../peers/answer.ts'
import { type BenchReport, runBench } from '../runBench.ts'
import { type Selection, selectTargets } from '../select.ts'

declare global {
  /** Sends progress or an answer to the host, which defines this function. */
  function report(what: Answer | { done: number; of: number; id: string }): Promise<void>
}

/** Times the selected targets on the browser's device. */
export async function bench(selection: Selection, quick: boolean, time: number | undefined): Promise<BenchReport> {
  const device = await requestDevice()
  const targets = selectTargets(device.capabilities, { ...selection, quick })
  const budget = budgetOf(device.capabilities.software, quick)
  return runBench(device, targets, {
    budget: { ...budget, time: time ?? budget.time },
    flush: !quick,
    quick,
    onProgress: (done, id) => void report({ done, of: targets.length, id }),
  })
}

/** Compares workloads with a peer, and reports every answer to the host. */
export async function compare(task: Task): Promise<void> {
  await answerTask(task, () => requestDevice(), report)
}

/** Returns the name of the browser's device, and whether it is software. */
export async function describeDevice(): Promise<{ name: string; software: boolean }> {
  const device = await requestDevice()
  const { name, software } = device.summary
  device.destroy()
  return { name, software }
}
