import { type ChildProcess, fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { UserError } from '../base/errors.ts'
import type { ModuleProcess } from './types.ts'

/** Milliseconds that a process has to end by itself after it was told to. */
const GRACE = 3000

const children = new Set<ChildProcess>()

/** The signals that end a process by default. */
const SIGNALS = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const

/** Makes a child end with this process, even when it hangs. All children share one listener of each kind. */
function watch(child: ChildProcess): void {
  if (children.size === 0) {
    process.on('exit', killAll)
    for (const signal of SIGNALS) process.on(signal, endBy)
  }
  children.add(child)
}

function unwatch(child: ChildProcess): void {
  children.delete(child)
  if (children.size > 0) return
  process.off('exit', killAll)
  for (const signal of SIGNALS) process.off(signal, endBy)
}

function killAll(): void {
  for (const child of children) child.kill('SIGKILL')
}

/** Ends this process with the exit code of the signal, unless the program listens to the signal itself. */
function endBy(signal: (typeof SIGNALS)[number]): void {
  if (process.listenerCount(signal) === 1) process.exit(128 + constants.signals[signal])
}

/**
 * Starts a module as a process of its own. A crash of the child does not harm this process, and the child ends when this process does.
 * @param entry the module's file, built as an entry point
 * @throws UserError when there is no such file, as in a bundle of the library alone
 */
export function startProcess(entry: URL, onMessage: (message: unknown) => void): ModuleProcess {
  if (entry.protocol !== 'file:' || !existsSync(fileURLToPath(entry))) {
    throw new UserError(
      `${entry}: no such file; a bundle must bring it along as an entry point, or keep all devices in one process`,
    )
  }
  // The child's output goes to stderr, so that it does not mix with results on stdout. Advanced serialization can pass typed arrays.
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
  watch(child)
  ended.then(() => unwatch(child))
  return {
    name: `process ${child.pid}`,
    ended,
    send(message) {
      // A message that no longer arrives is no error of its own: `ended` reports the end of the process.
      if (child.connected) child.send(message as object, () => {})
    },
    kill() {
      child.kill('SIGKILL')
    },
    async end() {
      if (why === undefined && child.connected) child.disconnect()
      const timer = setTimeout(() => child.kill('SIGKILL'), GRACE)
      await ended
      clearTimeout(timer)
    },
  }
}
