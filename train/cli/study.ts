import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Tune } from '../../engine/autotune/tune.ts'
import { UserError } from '../../engine/index.ts'
import { CLASSES, checkName, type Target, type WorkerClass } from '../fleet/names.ts'
import { LEASE } from '../fleet/store.ts'
import { statedSettings } from '../study/plan/plan.ts'
import { select } from '../study/plan/selection.ts'
import { type LoadedStudy, loadStudy, shippedStudies } from '../study/plan/source.ts'
import { exportStudy } from '../study/results/export.ts'
import { filesIn, STUDIES as OUT } from '../study/results/folder.ts'
import { ranStudies, ranStudyNamed, type StudyStatus, studyStatus } from '../study/results/status.ts'
import { runStudy, type StudyHooks, type StudyRequest } from '../study/run/execute.ts'
import { previewStudy } from '../study/run/preview.ts'
import { checkDistinctPaths } from './distinctPaths.ts'
import { addFleetOptions, type FleetFlags } from './fleetOptions.ts'
import { Interrupt } from './interrupt.ts'
import { adapterOption, count, makeCommand, number, tuneOption } from './options.ts'
import { printable, printJson, say } from './printable.ts'
import { Progress } from './progress.ts'
import { reportCommand } from './report.ts'
import { measuresTime, openElsewhere } from './studyFleet.ts'
import { listedStudies, previewLines, statusLines } from './studyTables.ts'

/** Largest number of runs at a time that a machine may be asked for. */
const MAX_JOBS = 64
/** Longest lease of a run in a fleet, in seconds. */
const MAX_LEASE = 3600

interface RunFlags extends FleetFlags {
  preset: string
  arms?: string[]
  seeds?: number[]
  jobs: number
  out: string
  dryRun?: boolean
  deviate?: string
  adapter?: string
  tune?: Tune
  dataDir?: string
  download?: boolean
  json?: boolean
  class: WorkerClass
  worker?: string
  lease: number
}

/** Makes the command `paraformer study`. */
export function studyCommand(): Command {
  return makeCommand('study')
    .description('compare arms over seeds: declare a study in a file, run it, stop it with Ctrl-C, run it again to go on')
    .addCommand(listCommand())
    .addCommand(runCommand())
    .addCommand(statusCommand())
    .addCommand(reportCommand())
    .addCommand(exportCommand())
}

function outOption(): Option {
  return new Option('--out <folder>', 'folder of all studies').default(OUT)
}

function listCommand(): Command {
  return makeCommand('list', 'study list ')
    .description('list the studies that come with the package, with their arms, seeds and presets')
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const studies = await Promise.all((await shippedStudies()).map(loadStudy))
      if (json) return printJson(studies.map(({ study }) => ({ ...study, arms: Object.keys(study.arms) })))
      for (const line of listedStudies(studies.map(({ study }) => study))) console.log(line)
    })
}

function runCommand(): Command {
  const command = makeCommand('run', 'study run ')
    .description('run what is missing of a study; results.jsonl has a line for each finished run')
    .argument('<study>', 'name of a study of `paraformer study list`, or a file such as my-study.ts')
    .option('--preset <name>', 'size of the study', 'tiny')
    .addOption(new Option('--arms <a,b>', 'only these arms').argParser(names))
    .addOption(new Option('--seeds <1,2>', 'only these seeds').argParser(wholes))
    .addOption(new Option('--jobs <n>', 'runs at a time').argParser(count(MAX_JOBS)).default(1))
    .addOption(outOption())
    .option('--dry-run', 'print the runs, their operations and the expected time')
    .option('--deviate <reason>', 'go on although the study changed after it was registered; the report shows the reason')
    .option('--data-dir <path>', 'folder of the data set')
    .option('--download', 'fetch missing files of the data set from their official address')
    .addOption(adapterOption())
    .addOption(tuneOption('off'))
    .option('--json', 'print JSON')
  return addFleetOptions(command, 'give the runs to the workers of a fleet, such as nats://localhost:4222')
    .addOption(new Option('--class <name>', 'workers of a fleet that take the runs').choices([...CLASSES]).default('cpu'))
    .option('--worker <name>', 'the one worker of a fleet that takes the runs, as studies of times need it')
    .addOption(
      new Option('--lease <seconds>', 'after so long without a sign of life the run of a worker goes to another one')
        .argParser(count(MAX_LEASE))
        .default(LEASE / 1000),
    )
    .action(async (name: string, flags: RunFlags) => {
      const interrupt = new Interrupt()
      try {
        await run(name, flags, interrupt)
      } finally {
        interrupt.close()
      }
    })
}

async function run(name: string, flags: RunFlags, interrupt: Interrupt): Promise<void> {
  const { preset, arms, seeds, jobs, out, deviate, adapter, dataDir, download } = flags
  if (deviate?.trim() === '') throw new UserError('--deviate needs a reason, such as "the learning rate was a slip"')
  const loaded = await loadStudy(name)
  const selection = select(loaded.study, { arms, seeds })
  // Variants that a later tuning finds give other bits, so a study takes none unless it is asked to.
  const tune = flags.tune ?? 'off'
  const place = { ...(dataDir && { dataDir }), ...(download && { download }) }
  const elsewhere = fleetOf(flags, loaded, place)
  const request: StudyRequest = { loaded, preset, selection, out, jobs, adapter, tune, deviate, place, elsewhere }
  const ends = new AbortController()
  interrupt.says = 'saving; once more ends at once'
  interrupt.onAsked(() => ends.abort())
  const shown = new StudyProgress()
  const hooks: StudyHooks = {
    signal: ends.signal,
    note: (text) => shown.note(text),
    onProgress: (...at) => shown.update(...at),
  }
  try {
    if (flags.dryRun) {
      const planned = await previewStudy(request, hooks)
      if (planned && flags.json) printJson(planned)
      else if (planned) for (const line of previewLines(planned, jobs)) console.log(line)
      else interrupt.end()
      return
    }
    const { folder, finished, of, stopped, failures } = await runStudy(request, hooks).finally(() => shown.stop())
    if (stopped) {
      say(`${finished} of ${of} runs are finished; the same command goes on`)
      return interrupt.end()
    }
    print([await studyStatus(folder)], flags.json)
    if (failures.length > 0) throw new UserError(`${failures.length} of ${of} runs failed; the first: ${failures[0]}`)
  } finally {
    shown.stop()
  }
}

/** Returns what opens the fleet that the flags name, if they name one. @throws UserError for a study that no fleet can do */
function fleetOf(flags: RunFlags, loaded: LoadedStudy, place: StudyRequest['place']): StudyRequest['elsewhere'] {
  const { fleet, worker, preset } = flags
  if (fleet === undefined) {
    if (worker !== undefined) throw new UserError('--worker is a worker of a fleet; name its server with --fleet')
    return undefined
  }
  const { study } = loaded
  if (study.exclusive && worker === undefined)
    throw new UserError(
      `study ${study.id} measures times, so all its runs need the same machine; name a worker of the fleet with --worker`,
    )
  if (measuresTime(study))
    throw new UserError(`study ${study.id} has a budget of time, which is measured on one machine; run it without --fleet`)
  const target: Target = worker === undefined ? { class: flags.class } : { worker: checkName(worker, '--worker') }
  return (folder, data, hooks) =>
    openElsewhere(
      {
        fleet: { ...flags, fleet },
        loaded,
        preset,
        target,
        lease: flags.lease * 1000,
        settings: statedSettings(study, preset, Object.keys(study.arms)[0]!, study.seeds[0]!, place),
      },
      folder,
      data,
      hooks,
    )
}

/** The progress of a study, which begins with its first run. */
class StudyProgress {
  #progress: Progress | undefined

  update(share: number, label: string): void {
    this.#progress ??= new Progress({ total: 1, value: share })
    this.#progress.update(share, label)
  }

  note(text: string): void {
    if (this.#progress) this.#progress.note(text)
    else say(text)
  }

  stop(): void {
    this.#progress?.stop()
    this.#progress = undefined
  }
}

function statusCommand(): Command {
  return makeCommand('status', 'study status ')
    .description('say how far studies are, with the mean of each arm and its interval over the seeds')
    .argument('[folders...]', 'folders of studies (default: all under --out)')
    .addOption(outOption())
    .option('--json', 'print JSON')
    .action(async (folders: string[], { out, json }: { out: string; json?: boolean }) => {
      const missing = folders.find((folder) => !existsSync(filesIn(folder).registered))
      if (missing !== undefined)
        throw new UserError(`${missing}: holds no study; name a folder such as ${join(OUT, 'schemes-tiny')}`)
      const found = folders.length > 0 ? folders.map(filesIn) : await ranStudies(out)
      if (found.length === 0) say(`${printable(out)}: holds no study; begin with paraformer study run`)
      print(await Promise.all(found.map(studyStatus)), json)
    })
}

function exportCommand(): Command {
  return makeCommand('export', 'study export ')
    .description('copy what a report of a study needs, without checkpoints and models: a few kilobytes for each run')
    .argument('<study>', 'folder of a study, or the name of one that was run here')
    .argument('<folder>', 'folder to write')
    .option('--json', 'print JSON')
    .action(async (study: string, to: string, { json }: { json?: boolean }) => {
      const from = (await ranStudyNamed(study, OUT)) ?? study
      await checkDistinctPaths([['the folder to write', to]], [['the study', from]])
      const { runs, bytes } = await exportStudy(from, to)
      if (json) printJson({ folder: to, runs, bytes })
      else console.log(`${runs} runs, ${Math.round(bytes / 1000)} kB: ${printable(to)}`)
    })
}

function print(found: readonly StudyStatus[], json = false): void {
  if (json) printJson(found)
  else for (const status of found) for (const line of statusLines(status)) console.log(line)
}

function names(text: string): string[] {
  return text.split(',').map((name) => name.trim())
}

function wholes(text: string): number[] {
  return text.split(',').map((word) => {
    const value = number(word)
    if (!(Number.isSafeInteger(value) && value >= 0)) throw new InvalidArgumentError('It must be whole numbers, such as 1,2.')
    return value
  })
}
