import { type Command, Option } from 'commander'
import { adapterOption, count, makeCommand } from '../../train/cli/options.ts'
import { MAX_BATCH, MOST_TIME } from '../limits.ts'
import type { ImagesFlags } from './flags.ts'

/** The largest side of an image of the bench. */
const MAX_SIDE = 1024

/** Makes the command `paraformer bench images`. */
export function imagesCommand(): Command {
  return makeCommand('images', 'bench images ')
    .description('time how training images are made: by the host in a thread, and by the device, in turn')
    .addOption(new Option('--from <n>', 'pixels of a side of the stored images').argParser(count(MAX_SIDE)).default(32))
    .addOption(new Option('--size <n>', 'pixels of a side of the images of a batch').argParser(count(MAX_SIDE)).default(224))
    .addOption(new Option('--operations <n>', 'operations of RandAugment').argParser(count(100)).default(2))
    .addOption(new Option('--batch <n>', 'images of a mini-batch').argParser(count(MAX_BATCH)).default(64))
    .option('--quick', 'only show that everything runs: one round')
    .addOption(new Option('--time <ms>', 'how long to time each').argParser(count(MOST_TIME)).default(4000))
    .addOption(adapterOption())
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
RGB images are resized, padded by 4 and cropped, flipped, changed by RandAugment at magnitude 14, and normalised. The first batches
of host and device are compared bit by bit. Both make the same batches in turn, round by round; the host's thread runs while the device is idle.

  paraformer bench images --adapter lavapipe
  paraformer bench images --from 224`,
    )
    .action(async (flags: ImagesFlags) => {
      const { benchImages } = await import('./images.ts')
      await benchImages(flags)
    })
}
