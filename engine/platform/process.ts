import { fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { UserError } from '../errors.ts'
import type { ModuleProcess } from './types.ts'

/** Milliseconds that a process has to end by itself once it was told to. */
const GRACE = 3000

/**
 * Starts a module as a process of its own. It may crash without harm to this one, and ends when this one does.
 * @param entry file of the module, built as an entry point
 * @throws UserError when there is no such file: a build that bundles the library alone lacks it
 */
export function startProcess(entry: URL, onMessage: (message: unknown) => void): ModuleProcess {
  if (entry.protocol !== 'file:' || !existsSync(fileURLToPath(entry))) {
    throw new UserError(
      `${entry}: no such file; a bundle must bring it along as an entry point, or keep all devices in one process`,
    )
  }
  // What it prints must not mix with results on stdout. Typed arrays cross as they are.
  const child = fork(fileURLToPath(entry), { stdio: ['ignore', 2, 2, 'ipc'], serialization: 'advanced' })
  let why: string | undefined
  const ended = new Promise<string>((resolve) => {
    const end = (how: string) => {
      why ??= how
      resolve(why)
    }
    child.on('error', (error) => end(`failed: ${error.message}`))
    child.on('exit', (code, signal) => end(signal ? `was ended by ${signal}` : `ended with code ${code}`))
  })
  child.on('message', onMessage)
  // A process that hangs would not notice that this one is gone.
  const leave = () => child.kill('SIGKILL')
  process.on('exit', leave)
  ended.then(() => process.off('exit', leave))
  return {
    name: `process ${child.pid}`,
    ended,
    send(message) {
      // The end of the process is told by `ended`; a message that no longer arrives is no error of its own.
      if (child.connected) child.send(message as object, () => {})
    },
    async end() {
      if (why === undefined && child.connected) child.disconnect()
      const timer = setTimeout(() => child.kill('SIGKILL'), GRACE)
      await ended
      clearTimeout(timer)
    },
  }
}
