import { startProcess } from '#platform'
import type { CheckReport, Job, JobReply } from './job.ts'

/** Every build bundles `studyProcess.ts` as an entry point of its own into the folder of the code that starts it. */
const ENTRY = new URL('./studyProcess.js', import.meta.url)

/** Milliseconds between tries to take the folder of a run, which a process of a killed parent may still save, and number of tries. */
const PAUSE = 1000
const TRIES = 60
/** Processes in a row that may crash without a mini-batch more done. */
const MAX_CRASHES = 3

/** The end of a job. */
export type Outcome =
  | { how: 'done'; report?: CheckReport | undefined }
  | { how: 'stopped' }
  /** It failed, for a reason that lies in what was asked for or in this machine. */
  | { how: 'failed'; message: string; asked: boolean }

export interface JobHooks {
  /** Asks the process to save and end. */
  signal: AbortSignal
  onProgress?(miniBatches: number, label: string): void
  note(text: string): void
  /** Is called when a checkpoint lies in the folder, after so many mini-batches. */
  onSaved?(miniBatches: number): void
}

/** Does a job in a process of its own, and goes on in another one when it crashes. */
export async function doJob(job: Job, hooks: JobHooks): Promise<Outcome> {
  let reached = 0
  let crashes = 0
  for (let tries = 1; ; tries++) {
    if (hooks.signal.aborted) return { how: 'stopped' }
    let done = 0
    const onProgress = (miniBatches: number, label: string) => {
      done = miniBatches
      hooks.onProgress?.(miniBatches, label)
    }
    const reply = await onceIn(job, { ...hooks, onProgress })
    if (typeof reply === 'string') {
      if (done > reached) [reached, crashes] = [done, 0]
      if (hooks.signal.aborted) return { how: 'stopped' }
      if (++crashes === MAX_CRASHES) {
        return { how: 'failed', message: `its process ${reply}, ${crashes} times without progress`, asked: false }
      }
      hooks.note(`a process ${reply}; another one goes on`)
    } else if ('done' in reply) return { how: 'done', report: reply.report }
    else if ('stopped' in reply) return { how: 'stopped' }
    else if (!reply.busy || tries >= TRIES) return { how: 'failed', message: reply.failed, asked: reply.asked }
    else await new Promise((resolve) => setTimeout(resolve, PAUSE))
  }
}

type Last = Extract<JobReply, { done: true } | { stopped: true } | { failed: string }>

/** @returns the last reply of a process, or how it ended without one */
async function onceIn(job: Job, { signal, onProgress, onSaved, note }: JobHooks): Promise<Last | string> {
  let last: Last | undefined
  let answered = () => {}
  const reply = new Promise<void>((resolve) => {
    answered = resolve
  })
  const child = startProcess(ENTRY, (message) => {
    const found = message as JobReply
    if ('progress' in found) onProgress?.(found.progress, found.label)
    else if ('note' in found) note(found.note)
    else if ('saved' in found) onSaved?.(found.saved)
    else {
      last = found
      answered()
    }
  })
  // A check is short and leaves nothing behind.
  const stop = () => (job.kind === 'check' ? child.kill() : child.send({ stop: true }))
  child.send({ job })
  if (signal.aborted) stop()
  signal.addEventListener('abort', stop)
  try {
    const how = await Promise.race([reply, child.ended])
    return last ?? (how as string)
  } finally {
    signal.removeEventListener('abort', stop)
    await child.end()
  }
}
