import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Answer } from './answer.ts'
import type { RunTask } from './runPeer.ts'

/** Number of characters of a child's output that are kept, to say why it ended. */
const TAIL = 400

/** Runs a task in a process of its own. */
export const runChild: RunTask = (task, onAnswer) => {
  const child = fork(fileURLToPath(new URL('./child.js', import.meta.url)), {
    // V8 would take minutes to optimize the 27 MB of WebAssembly of onnxruntime-web, which only dispatches.
    execArgv: ['--enable-source-maps', '--liftoff-only'],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  let output = ''
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (text) => {
      output = `${output}${text}`.slice(-TAIL)
    })
  }
  child.on('message', (answer: Answer) => onAnswer(answer))
  child.send(task)
  const ended = new Promise<string>((resolve) => {
    child.on('close', (code, signal) => {
      const said = output.trim().split('\n').at(-1)
      resolve(`its process ended with ${signal ?? `code ${code}`}${said ? `: ${said}` : ''}`)
    })
  })
  return { ended, stop: () => child.kill('SIGKILL') }
}
