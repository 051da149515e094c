import { type Command, InvalidArgumentError, Option } from 'commander'
import { adapterOption, count, makeCommand, numbers } from '../../train/cli/options.ts'
import { MAX_BATCH } from '../limits.ts'
import { SIZE_NAMES } from '../streams/sizes.ts'
import type { FleetBranchesFlags } from './branches.ts'
import { KINDS, type Kind } from './kinds.ts'
import type { FleetLinkFlags } from './link.ts'
import type { FleetMessagesFlags } from './messages.ts'
import type { FleetSimulateFlags } from './simulate.ts'

const MAX_HOSTS = 16
const MAX_STEPS = 10_000
const MAX_DELAY = 1000
const MAX_LOSS = 20
const MAX_RATE = 100_000
const MAX_SIMULATED = 2000
const MAX_KILOBYTES = 100_000

/** Makes the command `paraformer bench fleet`. */
export function fleetBenchCommand(): Command {
  return makeCommand('fleet', 'bench fleet ')
    .description('what a fleet costs on this machine: its own nats-server and workers are started and ended')
    .addCommand(branchesCommand())
    .addCommand(linkCommand())
    .addCommand(messagesCommand())
    .addCommand(simulateCommand())
}

function branchesCommand(): Command {
  return makeCommand('branches', 'bench fleet branches ')
    .description(
      'training steps over hosts of a fleet, of branches and of a ViT by data parallelism, in turn with processes of the mode devices',
    )
    .addOption(new Option('--preset <name>', 'sizes of the model').choices(SIZE_NAMES).default('quick'))
    .addOption(new Option('--batch <n>', 'images of a mini-batch').argParser(count(MAX_BATCH)).default(500))
    .addOption(
      new Option('--kinds <a,b>', 'what is trained: branches of a ParaFormer, data for a ViT')
        .argParser(kinds)
        .default([...KINDS]),
    )
    .addOption(new Option('--hosts <a,b>', 'numbers of hosts beside this process').argParser(counts(MAX_HOSTS)).default([1, 3]))
    .addOption(new Option('--steps <n>', 'steps to time of each').argParser(count(MAX_STEPS)).default(10))
    .addOption(adapterOption())
    .option('--json', 'print JSON')
    .action(async (flags: FleetBranchesFlags) => {
      const { benchFleetBranches } = await import('./branches.ts')
      await benchFleetBranches(flags)
    })
}

function linkCommand(): Command {
  return makeCommand('link', 'bench fleet link ')
    .description(
      'training steps over two hosts behind slow and lossy links between network namespaces (needs root), predicted and measured',
    )
    .addOption(new Option('--preset <name>', 'sizes of the model').choices(SIZE_NAMES).default('quick'))
    .addOption(new Option('--batch <n>', 'images of a mini-batch').argParser(count(MAX_BATCH)).default(500))
    .addOption(
      new Option('--kinds <a,b>', 'what is trained: branches of a ParaFormer, data for a ViT')
        .argParser(kinds)
        .default([...KINDS]),
    )
    .addOption(new Option('--steps <n>', 'steps to time over each link').argParser(count(MAX_STEPS)).default(20))
    .addOption(new Option('--delay <ms>', 'one way, of each packet').argParser(count(MAX_DELAY)).default(20))
    .addOption(new Option('--loss <percent>', 'share of packets that is lost').argParser(count(MAX_LOSS)).default(1))
    .addOption(new Option('--rate <Mbit/s>', 'measure with this limit too').argParser(count(MAX_RATE)))
    .addOption(adapterOption())
    .option('--json', 'print JSON')
    .action(async (flags: FleetLinkFlags) => {
      const { benchFleetLink } = await import('./link.ts')
      await benchFleetLink(flags)
    })
}

function messagesCommand(): Command {
  return makeCommand('messages', 'bench fleet messages ')
    .description('messages and bytes a second of workers that wait for runs')
    .addOption(new Option('--workers <a,b>', 'numbers of workers').argParser(counts(MAX_HOSTS)).default([1, 2, 4, 8, 16]))
    .addOption(new Option('--seconds <n>', 'how long to count').argParser(count(MAX_STEPS)).default(15))
    .option('--json', 'print JSON')
    .action(async (flags: FleetMessagesFlags) => {
      const { benchFleetMessages } = await import('./messages.ts')
      await benchFleetMessages(flags)
    })
}

function simulateCommand(): Command {
  return makeCommand('simulate', 'bench fleet simulate ')
    .description('messages, bytes, CPU and latency of many workers in one process that train nothing, over a real server')
    .addOption(new Option('--workers <a,b>', 'numbers of workers').argParser(counts(MAX_SIMULATED)).default([100, 300, 1000]))
    .addOption(new Option('--seconds <n>', 'how long to count').argParser(count(MAX_STEPS)).default(15))
    .addOption(new Option('--run-seconds <n>', 'how long a run takes, on average').argParser(count(MAX_STEPS)).default(60))
    .addOption(new Option('--kilobytes <n>', 'size of a model').argParser(count(MAX_KILOBYTES)).default(100))
    .option('--json', 'print JSON')
    .action(async (flags: FleetSimulateFlags) => {
      const { benchFleetSimulate } = await import('./simulate.ts')
      await benchFleetSimulate(flags)
    })
}

/** Makes the parser of a list of numbers. */
function counts(most: number): (text: string) => number[] {
  return (text) => {
    const found = numbers(text)
    if (found.some((number) => !(Number.isSafeInteger(number) && number >= 1 && number <= most)))
      throw new InvalidArgumentError(`They must be whole numbers from 1 to ${most}, such as 1,3.`)
    return found
  }
}

function kinds(text: string): Kind[] {
  const found = text.split(',') as Kind[]
  if (found.some((kind) => !KINDS.includes(kind))) throw new InvalidArgumentError(`They must be of ${KINDS.join(', ')}.`)
  return found
}
