import { hostname } from 'node:os'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { UserError } from '../../engine/index.ts'
import { BranchHost } from '../fleet/branches/host.ts'
import { checkName, type WorkerClass } from '../fleet/names.ts'
import { deviceOf, NodeMachine } from '../fleet/nodeMachine.ts'
import { FleetWorker } from '../fleet/worker.ts'
import { addFleetOptions, type FleetFlags, openFleet } from './fleetOptions.ts'
import { Interrupt } from './interrupt.ts'
import { adapterOption, count, makeCommand } from './options.ts'
import { say } from './printable.ts'
import { Progress } from './progress.ts'

const MAX = 1_000_000

interface WorkerFlags extends FleetFlags {
  class: WorkerClass
  name?: string
  study: string[]
  branches?: boolean
  work?: string
  maxRuns?: number
  idle?: number
  adapter?: string
  dataDir?: string
  download?: boolean
}

/** Makes the command `paraformer worker`. */
export function workerCommand(): Command {
  return addFleetOptions(
    makeCommand('worker').description(
      "take runs of studies from a fleet's queue, one after the other, until Ctrl-C, which saves the run and gives it back",
    ),
  )
    .addOption(new Option('--class <name>', 'which runs to take').choices(['gpu', 'cpu']).default('cpu'))
    .option(
      '--name <name>',
      'name of the worker, that of its credentials where the server has some (default: host and process)',
    )
    .option('--branches', 'host branches of models that are trained elsewhere (train --devices), in place of taking runs')
    .option('--study <file>', 'a study file of your own whose runs may be taken; may be given again', more, [])
    .option('--work <folder>', 'folder of the run in progress (default: runs/fleet/NAME)')
    .addOption(new Option('--max-runs <n>', 'end after so many runs').argParser(count(MAX)))
    .addOption(new Option('--idle <seconds>', 'end when no run came for so long').argParser(count(MAX)))
    .addOption(adapterOption())
    .option('--data-dir <path>', 'folder of the data set')
    .option('--download', 'fetch missing files of the data set from their official address')
    .addHelpText(
      'after',
      `
A worker has the code and takes settings alone: runs of studies that come with the package, or of files named with --study.

  paraformer worker --fleet nats://host:4222 --auth worker-1.nk --name worker-1
  paraformer fleet up                                a server and workers on this machine, for a try`,
    )
    .action(async (flags: WorkerFlags) => {
      const interrupt = new Interrupt()
      interrupt.says = 'saving; once more ends at once'
      try {
        await work(flags, interrupt)
      } finally {
        interrupt.close()
      }
    })
}

async function work(flags: WorkerFlags, interrupt: Interrupt): Promise<void> {
  const { fleet, adapter, dataDir, download, study: studies, maxRuns, idle } = flags
  if (fleet === undefined)
    throw new UserError('name the server with --fleet, such as nats://localhost:4222; paraformer fleet up starts one')
  const name = checkName(flags.name ?? `${hostname().replace(/[^A-Za-z0-9_-]+/g, '-')}-${process.pid}`, '--name')
  const work = flags.work ?? join('runs', 'fleet', name)
  const ends = new AbortController()
  interrupt.onAsked(() => ends.abort())
  const progress = new Progress({ total: 1, quiet: !process.stderr.isTTY })
  const note = (text: string) => (process.stderr.isTTY ? progress.note(text) : say(text))
  const store = await openFleet({ ...flags, fleet }, name, false, note)
  try {
    if (flags.branches) {
      const device = await deviceOf(adapter, ends.signal, note)
      if (device) await BranchHost.run({ store, name, class: flags.class, device, adapter, signal: ends.signal, note })
      if (interrupt.asked) interrupt.end()
      return
    }
    const place = { ...(dataDir && { dataDir }), ...(download && { download }) }
    const device = await deviceOf(adapter, ends.signal, note)
    if (device === undefined) return interrupt.end()
    const machine = await NodeMachine.open({ work, studies, place, adapter, device })
    const { done, failed } = await FleetWorker.work({
      ...{ store, name, class: flags.class, machine, maxRuns, note },
      idle: idle === undefined ? undefined : idle * 1000,
      signal: ends.signal,
      onProgress: (label) => progress.update(0, label),
    })
    progress.stop()
    say(`${done} runs done${failed > 0 ? `, ${failed} attempts failed` : ''}`)
    if (interrupt.asked) interrupt.end()
  } finally {
    progress.stop()
    await store.close()
  }
}

function more(file: string, before: string[] = []): string[] {
  return [...before, file]
}
