import { type Command, InvalidArgumentError, Option } from 'commander'
import { adapterOption, addSettings, count, makeCommand, tuneOption } from '../../train/cli/options.ts'
import { MAX_DEVICES } from '../../train/devices/distribute.ts'
import { MAX_BATCH, MOST_TIME } from '../limits.ts'
import type { StreamsFlags } from './flags.ts'
import { SIZE_FLAGS, SIZE_NAMES } from './sizes.ts'

/** Makes the command `paraformer bench streams`. */
export function streamsCommand(): Command {
  const command = makeCommand('streams', 'bench streams ')
    .description('time the execution modes of a ParaFormer, beside a ViT of as many layers and a pipeline of it')
    .addOption(new Option('--batch <n,…>', 'batch sizes (default: 1,8,64,256; with --quick 1)').argParser(counts))
    .addOption(
      new Option(
        '--preset <name>',
        'sizes: small, the images and width of `npm start` in 8 branches of 2 layers; or those of a preset of `paraformer train` ' +
          '(default: small on a software device, else paper; with --quick quick)',
      ).choices(SIZE_NAMES),
    )
  return addSettings(command, SIZE_FLAGS)
    .addOption(
      new Option('--devices <n>', 'devices that branches and pipeline are spread over, of the same adapter; 1 leaves both out')
        .argParser(count(MAX_DEVICES))
        .default(2),
    )
    .addOption(
      new Option('--micro-batches <n,…>', 'numbers of micro-batches that the pipeline may have; the fastest is shown')
        .argParser(counts)
        .default([1, 2, 4, 8], '1,2,4,8'),
    )
    .option('--quick', 'in about 10 seconds: one run of each, of a small model on one image')
    .addOption(
      new Option('--time <ms>', 'how long to time each mode (default: 1500 on a software device, else 500)').argParser(
        count(MOST_TIME),
      ),
    )
    .addOption(adapterOption())
    .addOption(tuneOption())
    .addOption(new Option('--json', 'print JSON').conflicts('csv'))
    .option('--csv', 'print comma-separated values')
    .addHelpText(
      'after',
      `
Every mode gives the same logits and gradients, which is checked before it is timed. Modes are timed in turn, so that ratios
can be trusted where times cannot. "auto" is the fastest mode on one device. Under each table stands which modes do not help
and why.

  paraformer bench streams --batch 1,8,64 --csv
  paraformer bench streams --preset quick --scheme prefixSum --batch 8
  paraformer bench streams --preset cifar --batch 1 --devices 4`,
    )
    .action(async (flags: StreamsFlags) => {
      const { benchStreams } = await import('./streams.ts')
      await benchStreams(flags)
    })
}

function counts(text: string): number[] {
  const found = text.split(',').map(count(MAX_BATCH))
  if (new Set(found).size < found.length) throw new InvalidArgumentError('It must not name a number twice.')
  return found
}
