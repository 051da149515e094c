// One peer beside ours in a process of its own, so that a crash ends one comparison: started by runChild.ts, answers by IPC.
import { openShared } from '../openShared.ts'
import { type Answer, answerTask, type Task } from './answer.ts'

process.once('message', async (task: Task) => {
  const answer = (one: Answer) => new Promise<void>((resolve) => process.send!(one, () => resolve()))
  await answerTask(task, () => openShared({ adapter: task.adapter }), answer)
  // Libraries keep their devices, and with them the process.
  process.exit()
})
