import { type Command, Option } from 'commander'
import { MODES } from '../../model/index.ts'
import { adapterOption, addSettings, count, makeCommand } from '../../train/cli/options.ts'
import { MAX_BATCH, MOST_TIME } from '../limits.ts'
import { SIZE_FLAGS, SIZE_NAMES } from '../streams/sizes.ts'
import type { SchemesFlags } from './flags.ts'

/** Makes the command `paraformer bench schemes`. */
export function schemesCommand(): Command {
  const command = makeCommand('schemes', 'bench schemes ')
    .description('time what every training scheme takes for a mini-batch, in turn, beside a step on the full sum')
    .addOption(new Option('--batch <n>', 'images of a mini-batch').argParser(count(MAX_BATCH)).default(32))
    .addOption(new Option('--mode <name>', 'execution mode of the branches').choices(MODES).default('coalesced'))
    .addOption(new Option('--preset <name>', 'sizes of the model').choices(SIZE_NAMES).default('quick'))
  return addSettings(
    command,
    SIZE_FLAGS.filter((name) => name !== 'scheme'),
  )
    .option('--quick', 'only show that everything runs: one run of each')
    .addOption(new Option('--time <ms>', 'how long to time each scheme').argParser(count(MOST_TIME)).default(3000))
    .addOption(adapterOption())
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
A scheme with several optimizer steps for a mini-batch takes all of them, in both passes over the data; one that chooses a step
anew every time is shown by the mean of its steps. Steps are captured, as in "paraformer train". Schemes are timed in turn, so that
ratios can be trusted where times cannot.

  paraformer bench schemes --preset quick --batch 32
  paraformer bench schemes --preset paper --batch 2 --mode serial --json`,
    )
    .action(async (flags: SchemesFlags) => {
      const { benchSchemes } = await import('./schemes.ts')
      await benchSchemes(flags)
    })
}
