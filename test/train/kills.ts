import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { equal } from './equal.ts'
import type { SmallDisk } from './fullDisk.ts'
import { assertSameBits, metricLines, stepsIn, TINY, trainingOf } from './runs.ts'

const CLI = fileURLToPath(new URL('./cli.js', import.meta.url))
const SIGNALS = ['SIGKILL', 'SIGTERM', 'SIGHUP', 'SIGINT'] as const
type Signal = (typeof SIGNALS)[number]

/** Flags of runs with evaluations of several batches, and with saves between the epochs' ends. */
const FLAGS = [...TINY, '--test-images', '2000', '--save-every', '3']
/** Number of mini-batches in an epoch. */
const EPOCH = 8

/** One kill of a run. */
interface Kill {
  mode: 'serial' | 'devices'
  target: 'trainer' | 'worker'
  moment: 'training' | 'evaluation' | 'saving' | 'resuming'
  signal: Signal
}

const MOMENTS = ['training', 'evaluation', 'saving', 'resuming'] as const
const KILLS: Kill[] = SIGNALS.flatMap((signal): Kill[] => [
  ...MOMENTS.map((moment): Kill => ({ mode: 'serial', target: 'trainer', moment, signal })),
  { mode: 'devices', target: 'worker', moment: 'training', signal },
  { mode: 'devices', target: 'trainer', moment: 'training', signal },
  { mode: 'devices', target: 'trainer', moment: 'evaluation', signal },
])

/** Counts of what happened. */
export interface KillReport {
  kills: number
  /** Number of kills by target and moment. */
  byKind: Record<string, number>
  /** How often one of two processes was refused the folder that both wanted. */
  races: number
  /** Number of runs that ended with the bits of an undisturbed run. */
  finished: number
  /** Number of processes that a full disk ended, or kept from beginning. */
  full: number
  /** Number of processes that met a full disk and went on. */
  outlived: number
}

interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stderr: string
  sent: boolean
}

/**
 * Kills runs at random moments and resumes them, until a number of kills have hit. Each time two processes want the folder.
 * Fails when something is lost that a checkpoint had, or when a run ends with other bits than an undisturbed run.
 * @param disk the disk of the runs, which is filled and freed all the time
 */
export async function killRuns(work: string, kills: number, disk?: SmallDisk): Promise<KillReport> {
  const report: KillReport = { kills: 0, byKind: {}, races: 0, finished: 0, full: 0, outlived: 0 }
  const wholes = new Map<Kill['mode'], string>()
  const folders = new Map<Kill['mode'], string>()
  let runs = 0
  const filling = disk && keepFilling(disk)
  try {
    for (let cycle = 0; report.kills < kills || report.finished === 0; cycle++) {
      if (cycle > 10 * kills + 20) throw new Error(`only ${report.kills} kills hit`)
      const kill = KILLS[(cycle * 5) % KILLS.length]!
      const { mode } = kill
      if (!wholes.has(mode)) wholes.set(mode, await undisturbed(join(work, `whole-${mode}`), mode))
      const folder = folders.get(mode) ?? join(disk?.path ?? work, `run${runs++}`)
      folders.set(mode, folder)
      const before = stepOf(folder)
      const shown = `cycle ${cycle}, ${JSON.stringify(kill)}, ${folder} from mini-batch ${before}`
      const ended = await Promise.all([0, 1].map((racer) => disturb(folder, kill, cycle * 2 + racer)))
      let done = false
      for (const outcome of ended) done = judge(outcome, kill, report, disk !== undefined, shown) || done
      check(folder, before, disk !== undefined, shown)
      if (!done) continue
      assertSameBits(folder, wholes.get(mode)!)
      if (!disk) equal(metricLines(folder), metricLines(wholes.get(mode)!), `${shown}: metrics`)
      report.finished++
      folders.delete(mode)
    }
  } finally {
    await filling?.()
  }
  return report
}

async function undisturbed(folder: string, mode: string): Promise<string> {
  const { code, stderr } = await start(['train', ...FLAGS, '--mode', mode, '--out', folder], () => {})
  if (code !== 0) throw new Error(stderr)
  return folder
}

const stepOf = (folder: string) => (existsSync(join(folder, 'checkpoint.safetensors')) ? trainingOf(folder).position.step : 0)

/** Starts or resumes a run, and kills it. */
function disturb(folder: string, { mode, target, moment, signal }: Kill, draw: number): Promise<Ended> {
  const resumes = existsSync(join(folder, 'checkpoint.safetensors'))
  const args = resumes ? ['--resume', folder] : [...FLAGS, '--mode', mode, '--out', folder]
  const random = (most: number) => new CounterRandom(11, [draw, 0, 0]).below(most)
  return start(['train', ...args], async (process_) => {
    if (moment === 'resuming') await sleep(100 + random(2500))
    else {
      if (!(await process_.says(/mnist: /))) return
      if (moment === 'training') await sleep(random(1000))
      else if (moment === 'saving') await process_.until(() => isSaving(folder))
      else await process_.until(() => isEvaluating(folder))
    }
    const worker = Number(/\(process (\d+)\)/.exec(process_.stderr())?.[1])
    process_.send(signal, target === 'worker' ? worker : undefined)
  })
}

const isSaving = (folder: string) =>
  existsSync(folder) && readdirSync(folder).some((name) => /^\.checkpoint.*\.tmp$/.test(name))

/** Whether the last thing that a run did was the last mini-batch of an epoch. */
function isEvaluating(folder: string): boolean {
  const path = join(folder, 'metrics.jsonl')
  if (!existsSync(path)) return false
  const last = readFileSync(path, 'utf8').trimEnd().split('\n').at(-1)!
  return last.includes('"split":"train"') && new RegExp(`"step":(${EPOCH}|${2 * EPOCH}),`).test(last)
}

/** Fails for an end of a process that its kill does not explain. @returns whether the run came to its end */
function judge(
  { code, signal, stderr, sent }: Ended,
  kill: Kill,
  report: KillReport,
  mayBeFull: boolean,
  shown: string,
): boolean {
  const fail = () => new Error(`${shown}: ended with ${code ?? signal}, ${sent ? '' : 'not '}signalled: ${stderr}`)
  if (code === 2 && /run\.lock: (process \d+ of \S+|another process) trains in this folder|holds a run/.test(stderr)) {
    report.races++
    return false
  }
  if (mayBeFull && code === 2 && /cannot be written \(ENOSPC\)/.test(stderr)) {
    report.full++
    return false
  }
  if (/the next save tries again|lines wait until/.test(stderr)) {
    if (!mayBeFull) throw fail()
    report.outlived++
  }
  const hit = () => {
    report.kills++
    const kind = `${kill.mode} ${kill.target} ${kill.moment} ${kill.signal}`
    report.byKind[kind] = (report.byKind[kind] ?? 0) + 1
  }
  if (code === 0) {
    // Workers leave signals to the trainer, which replaces a worker that is killed.
    const replaced = /was ended by SIGKILL; training goes on from mini-batch \d+/.test(stderr)
    if (sent && kill.target === 'worker' && (kill.signal !== 'SIGKILL' || replaced)) hit()
    // The kill may also come after the end of the training.
    return true
  }
  // While Node exits it no longer handles signals, so a signal can end the process then. The files are compared all the same.
  if (sent && signal === kill.signal && kill.signal !== 'SIGKILL' && /\nepoch 2: /.test(stderr)) return true
  if (!sent || kill.target === 'worker') throw fail()
  if (kill.signal === 'SIGKILL' || signal === kill.signal) {
    // Before the process handles signals, any signal ends it.
    if (signal !== kill.signal || (kill.signal !== 'SIGKILL' && /mnist: /.test(stderr))) throw fail()
  } else {
    if (code !== 128 + constants.signals[kill.signal]) throw fail()
    if (!/saved after mini-batch \d+|before a mini-batch was done|are lost; the checkpoint of/.test(stderr)) throw fail()
  }
  hit()
  return false
}

/** Fails unless the checkpoint and the metrics still have what the last checkpoint had. */
function check(folder: string, before: number, gaps: boolean, shown: string): void {
  const step = stepOf(folder)
  if (step < before) throw new Error(`${shown}: the checkpoint went back to ${step}`)
  if (!existsSync(folder)) return
  const steps = stepsIn(metricLines(folder, gaps))
  if (!gaps && steps < step) throw new Error(`${shown}: metrics of ${steps} of ${step} mini-batches`)
  const left = readdirSync(folder).filter((name) => name.endsWith('.tmp'))
  // At most one of each file: the next write of the file removes it.
  const names = left.map((name) => name.split('.')[1])
  if (new Set(names).size < names.length) throw new Error(`${shown}: ${left.join(' ')} are left`)
}

interface Running {
  stderr(): string
  /** Resolves to true when the process prints a match, and to false when it ends without one. */
  says(what: RegExp): Promise<boolean>
  /** Resolves when the condition holds, or the process has ended. */
  until(holds: () => boolean): Promise<void>
  send(signal: Signal, pid: number | undefined): void
}

async function start(args: readonly string[], act: (running: Running) => void | Promise<void>): Promise<Ended> {
  const child = spawn(process.execPath, ['--enable-source-maps', CLI, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
  let [stderr, sent, over] = ['', false, false]
  child.stderr.on('data', (text) => {
    stderr += text
  })
  const ended = new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      over = true
      resolve([code, signal])
    })
  })
  const until = async (holds: () => boolean) => {
    while (!over && !holds()) await sleep(1)
  }
  const acting = act({
    stderr: () => stderr,
    async says(what) {
      await until(() => what.test(stderr))
      return what.test(stderr)
    },
    until,
    send(signal, pid) {
      if (over) return
      try {
        process.kill(pid ?? child.pid!, signal)
        sent = true
      } catch {
        // The process has ended meanwhile.
      }
    },
  })
  const [code, signal] = await ended
  await acting
  return { code, signal, stderr, sent }
}

/** Fills and frees the disk repeatedly. @returns a function that stops this and frees the disk */
function keepFilling(disk: SmallDisk): () => Promise<void> {
  let over = false
  const filling = (async () => {
    for (let round = 0; !over; round++) {
      const random = new CounterRandom(12, [round, 0, 0])
      await sleep(random.below(2000))
      // Sometimes there is room for a part of a file.
      disk.fill(random.below(3) * 12_000)
      await sleep(random.below(1500))
      disk.free()
    }
  })()
  return async () => {
    over = true
    await filling
  }
}
