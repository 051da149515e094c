import { UserError } from '../../engine/base/errors.ts'
import type { Check } from '../study/run/check.ts'
import type { JobHooks, Outcome } from '../study/run/processes.ts'
import type { RunMessage, WorkerEntry } from './messages.ts'

/** A run that this worker cannot take though another one may: it lacks the study or the data, or it has other code. */
export class NotHereError extends UserError {}

/** The files of a run in progress, and what trains it. */
export interface RunSite {
  /** Removes all files. */
  clear(): Promise<void>
  /** Trains to the end, from the checkpoint if there is one. */
  train(hooks: JobHooks): Promise<Outcome>
  /** Names the files that are there. */
  names(): Promise<string[]>
  /** Opens a file; undefined where there is none. */
  read(name: string): Promise<{ size: number; data: ReadableStream<Uint8Array> } | undefined>
  /** Writes a file that is there whole or not at all. @returns the number of bytes */
  write(name: string, data: ReadableStream<Uint8Array>): Promise<number>
}

/** The place that a worker runs on: a machine with Node, or a browser. */
export interface Machine {
  /** The device, as `deviceKey` names it. */
  readonly device: string
  readonly host: string
  readonly pid?: number | undefined
  /** Hash of the sources of the library. */
  readonly sources: string
  /** Whether a worker of this host is known to be gone, since its process was killed. */
  isGone(other: WorkerEntry): boolean
  /**
   * Compares a run with what this machine has.
   * @returns what makes the site of an attempt at the run
   * @throws NotHereError when it lacks something that another machine may have; UserError for settings that no machine can take
   */
  declare(run: RunMessage): Promise<DeclaredRun>
}

/** A run that a machine can do. */
export interface DeclaredRun {
  /** Sees that the device gives the same bits twice, where that is not known. @returns undefined when it should stop */
  check(hooks: JobHooks): Promise<{ check: Check | undefined } | undefined>
  site(): RunSite
}
