import * as v from 'valibot'
import { amount, count, fields, listOf, mapOf, text } from '../../engine/base/json.ts'
import { CHECK } from '../study/run/check.ts'
import { CLASSES } from './names.ts'

const HASH = v.pipe(text, v.regex(/^[0-9a-f]{20}$/, 'a hash of 20 hexadecimal digits'))
const DIGEST = v.pipe(text, v.regex(/^[0-9a-f]{64}$/, 'a SHA-256 of 64 hexadecimal digits'))
const STUDY_ID = v.pipe(text, v.regex(/^[a-z0-9][a-z0-9-]*$/, 'the name of a study'))
/** A name of a file in the folder of a run, which leads to no other folder. */
const FILE_NAME = v.pipe(text, v.regex(/^[a-z][A-Za-z0-9]*(\.[a-z0-9]+)+$/, 'the name of a file in the folder of a run'))

/** The largest message that is read, in bytes. */
export const MAX_MESSAGE = 256 * 1024
/** The largest file that is fetched, in bytes. */
export const MAX_FILE = 4 * 1024 ** 3

/** A run that waits for a worker. It says which study, arm and settings; the worker has the code. */
export const RUN_MESSAGE = fields({
  format: count,
  study: STUDY_ID,
  preset: text,
  /** The name of the study's folder, which begins the keys of entries and objects. */
  folder: v.pipe(text, v.regex(/^[A-Za-z0-9_-]{1,128}$/, 'letters, digits, hyphens and underscores')),
  kind: v.picklist(['run', 'trial'], 'run or trial'),
  key: HASH,
  arm: text,
  settings: mapOf(v.unknown()),
  saveEvery: v.pipe(count, v.minValue(1, 'a whole number of at least 1')),
  flops: v.optional(amount),
  /** Whether the arm has code of its own, or a procedure, beside settings. */
  own: v.boolean('true or false'),
  tune: v.picklist(['off', 'cached', 'full'], 'off, cached or full'),
  /** Hashes that the worker's own must equal: of the study's code, of the library's sources and of the data. */
  code: HASH,
  sources: text,
  data: HASH,
})
export type RunMessage = v.InferOutput<typeof RUN_MESSAGE>

/** A file in the object store. */
const STORED_FILE = fields({ name: FILE_NAME, object: text, sha256: DIGEST, bytes: v.pipe(count, v.maxValue(MAX_FILE)) })
export type StoredFile = v.InferOutput<typeof STORED_FILE>

/** The files that a worker stored in an attempt. */
const STORED = { worker: text, attempt: count, files: listOf(STORED_FILE) }
/** The number of the worker's own record of what it stored. */
const NUMBER = { record: count }
/** A checkpoint, with the mini-batches done at it and the device that computed it. */
const SAVED = fields({ ...STORED, ...NUMBER, device: text, step: count })
export type Saved = v.InferOutput<typeof SAVED>
/** The result of a run, with the check of the device that trained the arm. */
const RESULT = fields({ ...STORED, ...NUMBER, check: v.optional(CHECK) })
export type Result = v.InferOutput<typeof RESULT>

/** A record of a worker: what it stored, a checkpoint where it has a device and mini-batches, or else a result. */
export const STORED_RECORD = fields({
  format: count,
  ...STORED,
  device: v.optional(text),
  step: v.optional(count),
  check: v.optional(CHECK),
})
export type StoredRecord = Omit<v.InferOutput<typeof STORED_RECORD>, 'format'>

/** A failed attempt. */
const FAILURE = fields({ attempt: count, worker: text, reason: text })
export type Failure = v.InferOutput<typeof FAILURE>

/**
 * The entry of a run. It changes by compare-and-set alone, and whoever changes it must have read the number of its own attempt there:
 * that number is the fencing token.
 */
export const CLAIM = fields({
  format: count,
  state: v.picklist(['waiting', 'running', 'done', 'failed', 'collected'], 'a state of a run'),
  arm: text,
  lane: text,
  /** The number of the attempt that has the run, or had it last; 0 before the first one. */
  attempt: count,
  worker: v.optional(text),
  /** The number of the message that the attempt was begun for. */
  message: v.optional(count),
  /** The last checkpoint. */
  saved: v.optional(SAVED),
  /** The files of a run that has ended. */
  result: v.optional(RESULT),
  /** Attempts that failed. */
  failures: listOf(FAILURE),
})
export type Claim = v.InferOutput<typeof CLAIM>

/** The entry of a worker. */
export const WORKER_ENTRY = fields({
  format: count,
  name: text,
  class: v.picklist(CLASSES, `one of ${CLASSES.join(', ')}`),
  host: text,
  pid: v.optional(count),
  device: text,
  sources: text,
  /** When the worker began, as an ISO date. */
  since: text,
  /** Whether it hosts branches in place of taking runs, and has some. */
  branches: v.optional(v.picklist(['free', 'taken'], 'free or taken')),
  /** The run that it has, and how far that is. */
  run: v.optional(fields({ key: text, study: text, arm: text, attempt: count, step: count, label: text })),
  done: count,
  failed: count,
})
export type WorkerEntry = v.InferOutput<typeof WORKER_ENTRY>
