import type { Command } from 'commander'
import { Option } from 'commander'
import { UserError } from '../../engine/index.ts'
import { cancelStudy, type FleetOverview, fleetOverview } from '../fleet/overview.ts'
import { addFleetOptions, type FleetFlags, openFleet } from './fleetOptions.ts'
import { fleetUpCommand } from './fleetUp.ts'
import { Interrupt } from './interrupt.ts'
import { makeCommand } from './options.ts'
import { printable, printJson, say } from './printable.ts'
import { duration, table } from './table.ts'

/** Milliseconds between two pictures of a fleet. */
const EVERY = 2000

interface Flags extends FleetFlags {
  json?: boolean
  watch?: boolean
}

/** Makes the command `paraformer fleet`. */
export function fleetCommand(): Command {
  return makeCommand('fleet')
    .description('work of many machines over a NATS server: queue, workers, runs and failures; a server for a try')
    .addCommand(statusCommand())
    .addCommand(fleetUpCommand())
    .addCommand(cancelCommand())
}

function statusCommand(): Command {
  return addFleetOptions(makeCommand('status', 'fleet status '))
    .description('show what the fleet does')
    .option('--watch', 'show it again and again, until Ctrl-C')
    .addOption(new Option('--json', 'print JSON'))
    .action(async (flags: Flags) => {
      const store = await openFleet(named(flags), 'coordinator', true, say)
      const interrupt = new Interrupt()
      try {
        for (;;) {
          const found = await fleetOverview(store)
          if (flags.json) printJson(found)
          else {
            if (flags.watch && process.stdout.isTTY) process.stdout.write('\x1b[H\x1b[2J')
            for (const line of overviewLines(found)) console.log(line)
          }
          if (!flags.watch || interrupt.asked) break
          await interrupt.orStop(new Promise((resolve) => setTimeout(resolve, EVERY))).catch(() => {})
          if (interrupt.asked) break
        }
      } finally {
        interrupt.close()
        await store.close()
      }
    })
}

function cancelCommand(): Command {
  return addFleetOptions(makeCommand('cancel', 'fleet cancel '))
    .description('take the runs of a study out of the fleet, with their checkpoints')
    .argument('<study>', "name of the study's folder, such as schemes-tiny")
    .action(async (study: string, flags: Flags) => {
      const store = await openFleet(named(flags), 'coordinator', true, say)
      try {
        const runs = await cancelStudy(store, study)
        if (runs === 0) throw new UserError(`the fleet has no runs of ${study}; paraformer fleet status shows what it has`)
        console.log(`${runs} runs of ${printable(study)} are taken out`)
      } finally {
        await store.close()
      }
    })
}

function named(flags: Flags): Flags & { fleet: string } {
  const { fleet } = flags
  if (fleet === undefined)
    throw new UserError('name the server with --fleet, such as nats://localhost:4222; paraformer fleet up starts one')
  return { ...flags, fleet }
}

/** Describes a fleet in lines. */
export function overviewLines({ server, queued, workers, studies, bytes }: FleetOverview): string[] {
  const lines = [
    `${printable(server)}: ${queued} runs in the queue, ${workers.length} workers, ${(bytes / 1e6).toFixed(1)} MB stored`,
  ]
  if (studies.length > 0) {
    const rows = studies.map(({ folder, waiting, running, done, failed }) => [
      printable(folder),
      waiting,
      running,
      done,
      failed,
    ])
    lines.push(
      table(
        ['study', 'waiting', 'running', 'done', 'failed'],
        rows.map((row) => row.map(String)),
      ),
    )
  }
  if (workers.length > 0) {
    const rows = workers.map(({ name, class: own, host, run, done, since }) => [
      name,
      own,
      printable(host),
      duration((Date.now() - Date.parse(since)) / 1000),
      `${done}`,
      run ? printable(`${run.study}, ${run.arm}, attempt ${run.attempt}: mini-batch ${run.step}, ${run.label}`) : 'idle',
    ])
    lines.push(table(['worker', 'class', 'host', 'up', 'done', 'does'], rows))
  }
  for (const { folder, failures } of studies)
    for (const why of failures) lines.push(`failed: ${printable(`${folder}, ${why}`)}`)
  return lines
}
