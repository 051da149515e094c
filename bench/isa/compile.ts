import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { UserError } from '../../engine/index.ts'
import type { Capabilities } from '../../kernels/spec.ts'
import { type FromIsaProcess, markOf } from './protocol.ts'
import type { Radv } from './radv.ts'
import type { Source } from './source.ts'

/** Every build for Node bundles `isaProcess.ts` as an entry point of its own beside this code. */
const ENTRY = fileURLToPath(new URL('./isaProcess.js', import.meta.url))

/** Characters of the end of a log that tell why a process ended. */
const TAIL = 400

/** The compiler's result for a source: the driver's text, or the reason why there is none. */
export interface Compiled<S extends Source> {
  source: S
  text: string
  error: string | undefined
}

/** The compiled sources, and their device. */
export interface Compilation<S extends Source> {
  /** Names of the adapter and of the driver. */
  device: string
  driver: string
  compiled: Compiled<S>[]
}

/**
 * Compiles shaders for the GPU of `radv` in a process of its own; nothing is executed.
 * @param sourcesFor gives the shaders for a device
 * @throws UserError when Dawn does not take the driver, Error when the compiler crashes
 */
export async function compileSources<S extends Source>(
  radv: Radv,
  sourcesFor: (capabilities: Capabilities) => S[],
  onProgress: (done: number, total: number, label: string) => void = () => {},
): Promise<Compilation<S>> {
  const path = join(radv.folder, 'listings')
  const log = openSync(path, 'w')
  // The compiler's device is no matter of the user's choice.
  const { PARAFORMER_ADAPTER, ...inherited } = process.env
  const child = fork(ENTRY, { stdio: ['ignore', 'ignore', log, 'ipc'], env: { ...inherited, ...radv.environment } })
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  let sources: S[] = []
  const errors: (string | undefined)[] = []
  let device: Pick<Compilation<S>, 'device' | 'driver'> | undefined
  try {
    await talk(child, (message) => {
      if (message.kind === 'ready') {
        device = { device: message.name, driver: message.driver }
        sources = sourcesFor(message.capabilities)
        child.send({ sources })
      } else if (message.kind === 'compiled') {
        errors[message.index] = message.error
        onProgress(errors.length, sources.length, sources[errors.length]?.label ?? '')
      }
    })
  } catch (error) {
    if (error instanceof UserError) throw error
    const text = (await readFile(path, 'utf8')).slice(-TAIL).trim().split('\n').at(-1)
    const at = sources[errors.length]
    throw new Error(`${at ? `${at.label}: ` : ''}${(error as Error).message}${text ? `; it said last: ${text}` : ''}`)
  } finally {
    process.off('exit', kill)
    // Dawn cannot take such a device down, so the process does not end by itself.
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit')
      kill()
      await ended
    }
    closeSync(log)
  }
  const texts = split(await readFile(path, 'utf8'), sources.length)
  return { ...device!, compiled: sources.map((source, i) => ({ source, text: texts[i]!, error: errors[i] })) }
}

/** Hears a child until it is done. @throws Error when it ends before */
function talk(child: ChildProcess, hear: (message: FromIsaProcess) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    child.on('message', (message: FromIsaProcess) => {
      if (message.kind === 'closed') return reject(new UserError(`bench isa cannot open RADV: ${message.reason}`))
      if (message.kind === 'done') return resolve()
      try {
        hear(message)
      } catch (error) {
        reject(error)
      }
    })
    child.on('error', reject)
    child.on('exit', (code, signal) => reject(new Error(`the compiling process ended with ${signal ?? `code ${code}`}`)))
  })
}

/** Cuts a log into the texts of shaders. */
function split(log: string, count: number): string[] {
  let at = 0
  return Array.from({ length: count }, (_, i) => {
    const mark = markOf(i)
    const from = log.indexOf(mark, at)
    if (from < 0) return ''
    const to = log.indexOf(markOf('end'), from)
    at = to < 0 ? log.length : to
    return log.slice(from + mark.length, at)
  })
}
