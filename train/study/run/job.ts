import type { Tune } from '../../../engine/autotune/tune.ts'
import type { Settings } from '../../settings.ts'

/** The parts of a study that a process of it needs. */
export interface JobStudy {
  /** The bundled study file. */
  bundle: string
  adapter?: string | undefined
  tune: Tune
}

/** A run or a trial for a process of its own. */
export interface RunJob extends JobStudy {
  kind: 'run' | 'trial'
  folder: string
  key: string
  arm: string
  settings: Settings
  saveEvery: number
  /** Operations of the whole run, as an arm with a model of its own counts them. */
  flops?: number | undefined
}

/** A short run of each arm, whose bits two processes compare. */
export interface CheckJob extends JobStudy {
  kind: 'check'
  arms: { arm: string; settings: Settings }[]
  /** Devices, by `deviceKey`, that need no check. */
  known: string[]
}

export type Job = RunJob | CheckJob

/** The findings of a check on a device. */
export interface CheckReport {
  device: string
  adapter: string
  driver: string
  /** The bits of each arm, and the seconds of one of its mini-batches; undefined on a known device. */
  arms?: Record<string, { bits: string; seconds: number }>
}

export type JobRequest = { job: Job } | { stop: true }

export type JobReply =
  /** Training goes on: mini-batches done, and a text for people. */
  | { progress: number; label: string }
  | { note: string }
  /** A checkpoint lies in the folder, after so many mini-batches. */
  | { saved: number }
  | { done: true; report?: CheckReport }
  /** It was asked to stop, and saved. */
  | { stopped: true }
  /** It failed, if only because another process has its folder; or because of what it was asked to do. */
  | { failed: string; busy: boolean; asked: boolean }
