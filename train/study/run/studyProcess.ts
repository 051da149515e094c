// The process of one run of a study. It is an entry point of its own, because a process starts from a file.
import { reason, UserError } from '../../../engine/index.ts'
import { checkBits } from './checkBits.ts'
import type { Job, JobReply, JobRequest } from './job.ts'
import { runOnce } from './runOnce.ts'

let stopping = false

/** Resolves when the message is on its way. */
function reply(message: JobReply): Promise<void> {
  return new Promise((resolve) => {
    // The parent may be gone meanwhile; the `disconnect` event tells.
    if (process.connected) process.send!(message, undefined, undefined, () => resolve())
    else resolve()
  })
}

async function work(job: Job): Promise<JobReply> {
  const hooks = {
    shouldStop: () => stopping,
    onProgress: (progress: number, label: string) => void reply({ progress, label }),
    note: (note: string) => void reply({ note }),
    onSaved: (saved: number) => void reply({ saved }),
  }
  if (job.kind === 'check') return { done: true, report: await checkBits(job) }
  return (await runOnce(job, hooks)) ? { done: true } : { stopped: true }
}

process.on('message', async (request: JobRequest) => {
  if ('stop' in request) {
    stopping = true
    return
  }
  try {
    await reply(await work(request.job))
  } catch (error) {
    const failed = reason(error)
    // A process whose parent was killed may still save the run.
    const asked = error instanceof UserError
    const busy = asked && /trains in this folder|holds a run/.test(failed)
    await reply({ failed, busy, asked })
  }
  process.disconnect?.()
})

// Ctrl-C and the end of a terminal reach all its processes; the parent decides what they mean.
for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) process.on(signal, () => {})
// A failure to print ends nothing.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

// Without its parent a run saves and ends.
process.on('disconnect', () => {
  stopping = true
})
