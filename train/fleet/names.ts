import { UserError } from '../../engine/index.ts'

/** The stream of runs that wait for a worker. A run leaves it when it has ended. */
export const QUEUE = 'PARAFORMER_RUNS'
/** The stream of what runs report while they train. */
export const METRICS = 'PARAFORMER_METRICS'
/** The stream in which each worker says, under its own name, which files it stored for a run. Only who plans studies can remove anything. */
export const RECORDS = 'PARAFORMER_RECORDS'
/** The bucket with an entry for each run: who has it, how often it was tried, how it ended. */
export const CLAIMS = 'paraformer-claims'
/** The bucket with an entry for each worker, which is gone when the worker says nothing any more. */
export const WORKERS = 'paraformer-workers'
/** The object store of checkpoints and results. */
export const FILES = 'paraformer-files'

/** Kinds of devices that a run may ask for. A worker takes the runs of one of them. */
export const CLASSES = ['gpu', 'cpu', 'browser'] as const
export type WorkerClass = (typeof CLASSES)[number]

/** Who takes a run: any worker of a class, or the one worker of this name. */
export type Target = { class: WorkerClass } | { worker: string }

const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/

/** @throws UserError unless a name can stand in a subject of NATS */
export function checkName(name: string, what: string): string {
  if (NAME.test(name)) return name
  throw new UserError(`${what} ${JSON.stringify(name.slice(0, 80))}: use up to 64 letters, digits, hyphens and underscores`)
}

function lane(target: Target): string {
  return 'class' in target ? target.class : `worker-${target.worker}`
}

/** The subject of a run in the queue. @param study the name of the study's folder, such as `schemes-tiny` */
export function runSubject(target: Target, study: string, key: string): string {
  return `paraformer.runs.${lane(target)}.${study}.${key}`
}

/** The subjects of all runs of a study in the queue. @param study the name of the study's folder */
export function runsOf(study: string): string {
  return `paraformer.runs.*.${study}.*`
}

/** The subjects of all runs for a target. */
export function runSubjects(target: Target): string {
  return `paraformer.runs.${lane(target)}.>`
}

/** The durable consumer that the workers of a target share. */
export function consumerName(target: Target): string {
  return `runs-${lane(target)}`
}

/** The subject on which a worker reports about a run. */
export function metricsSubject(worker: string, key: string): string {
  return `paraformer.metrics.${worker}.${key}`
}

/** The subject on which a worker says what it stored for a run. @param study the name of the study's folder; `*` for workers means all */
export function recordSubject(worker: string, study: string, key: string): string {
  return `paraformer.records.${worker}.${study}.${key}`
}

/** The key of a run's entry. @param study the name of the study's folder, such as `schemes-tiny` */
export function claimKey(study: string, key: string): string {
  return `${study}.${key}`
}

/** The prefix of the subjects on which a client gets answers, so that no other one can listen to them. */
export function inboxPrefix(name: string): string {
  return `_INBOX_${name}`
}
