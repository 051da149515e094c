import { type ChildProcess, fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { UserError } from '../base/errors.ts'
import type { ModuleProcess } from './types.ts'

/** Milliseconds that a process has to end by itself once it was told to. */
const GRACE = 3000

const children = new Set<ChildProcess>()

/** What ends a process that does not listen. */
const SIGNALS = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const

/** Sees to it that a child ends with this process: one that hangs would not notice that this one is gone. One listener serves all. */
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

/** Ends this process as the signal would, but for `exit`. Where somebody else listens, what it means is theirs to say. */
function endBy(signal: (typeof SIGNALS)[number]): void {
  if (process.listenerCount(signal) === 1) process.exit(128 + constants.signals[signal])
}

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
  watch(child)
  ended.then(() => unwatch(child))
  return {
    name: `process ${child.pid}`,
    ended,
    send(message) {
      // The end of the process is told by `ended`; a message that no longer arrives is no error of its own.
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
