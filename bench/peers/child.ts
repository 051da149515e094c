// The child process that runChild.ts starts: it compares one peer with ours, and answers by IPC. A crash of it ends only one
// comparison.
import { openShared } from '../openShared.ts'
import { type Answer, answerTask, type Task } from './answer.ts'

process.once('message', async (task: Task) => {
  const answer = (message: Answer) => new Promise<void>((resolve) => process.send!(message, () => resolve()))
  await answerTask(task, () => openShared({ adapter: task.adapter }), answer)
  // The libraries' devices would keep the process alive.
  process.exit()
})
