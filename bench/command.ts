import { type Command, Option } from 'commander'
import { adapterOption, count, makeCommand, tuneOption } from '../train/cli/options.ts'
import { byHandCommand } from './byHand/command.ts'
import type { BenchFlags } from './flags.ts'
import { fleetBenchCommand } from './fleet/command.ts'
import { imagesCommand } from './images/command.ts'
import { isaCommand } from './isa/command.ts'
import { MAX_BATCH, MOST_TIME } from './limits.ts'
import { schemesCommand } from './schemes/command.ts'
import { streamsCommand } from './streams/command.ts'

/** Makes the command `paraformer bench` with its subcommands, whose flags stand behind their names. */
export function benchCommand(): Command {
  return makeCommand('bench')
    .enablePositionalOptions()
    .addCommand(streamsCommand())
    .addCommand(schemesCommand())
    .addCommand(byHandCommand())
    .addCommand(fleetBenchCommand())
    .addCommand(isaCommand())
    .addCommand(imagesCommand())
    .helpCommand(false)
    .description('time kernels, layers, forward passes and training steps against the ceilings of the device')
    .argument('[names...]', 'what to time: groups (kernels, ops, layers, models) or names of theirs; default everything')
    .option('--list', 'list what can be timed and end')
    .option('--variant <name>', 'only this variant of kernels; ops, layers and models use it where there is one')
    .option('--filter <regexp>', 'only targets whose `group/name/variant shape` matches')
    .option('--shape <sizes>', 'another shape of the named ops, such as 4096x4096x4096 (M x K x N of a matmul)')
    .addOption(
      new Option('--batch <n>', 'images of layers and models (default: 2 on a software device, else 64)').argParser(
        count(MAX_BATCH),
      ),
    )
    .option(
      '--quick',
      'in 10 seconds: of each name the smallest shape, in the variant that the device chooses; nothing is kept',
    )
    .addOption(
      new Option('--time <ms>', 'how long to time each (default: 300 on a software device, else 200)').argParser(
        count(MOST_TIME),
      ),
    )
    .addOption(
      new Option('--timer <clock>', "of kernels: the device's timestamps (default where it has them) or the host's").choices([
        'device',
        'wall',
      ]),
    )
    .option('--no-flush', 'leave the caches as the last run left them')
    .addOption(adapterOption())
    .addOption(tuneOption())
    .addOption(new Option('--json', 'print JSON').conflicts('csv'))
    .option('--csv', 'print comma-separated values')
    .option('--html <file>', 'also write a page with a roofline plot')
    .option('--history <folder>', 'where runs are kept, to compare with (default: bench/history in a clone, else runs/bench)')
    .option('--no-history', 'neither compare with the last run nor keep this one')
    .addHelpText(
      'after',
      `
Values are checked before they are timed, and those of the last timed run again. Times are medians with the 20th and 80th
percentile. "Of ceiling" is the least time that the device could take, by its own multiply-add rate, memory bandwidth or
dispatch cost measured beside each target, over the median; more than 100 % cannot be, and fails.

  paraformer bench softmax attention       kernels and ops of these names
  paraformer bench ops --filter 1024       some of a group
  paraformer bench matmul --shape 4096x4096x4096
  paraformer bench models --batch 8 --html roofline.html`,
    )
    .action(async (names: string[], flags: BenchFlags) => {
      // Everything else of the program starts without the kernels' references and cases.
      const { bench } = await import('./bench.ts')
      await bench(names, flags)
    })
}
