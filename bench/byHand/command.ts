import { type Command, InvalidArgumentError, Option } from 'commander'
import { adapterOption, count, makeCommand, number } from '../../train/cli/options.ts'
import { MOST_TIME } from '../limits.ts'
import type { ByHandFlags } from './flags.ts'

/** The shapes of the kernels' bench, with fewer images. */
const SHAPES = [
  [8, 3, 197, 64],
  [4, 4, 256, 64],
  [64, 4, 65, 32],
  [64, 2, 17, 16],
]

/** Makes the command `paraformer bench byHand`. */
export function byHandCommand(): Command {
  return makeCommand('byHand', 'bench byHand ')
    .description('fused attention, forward and with its gradients, in turn with products and softmax by hand, both captured')
    .addOption(
      new Option('--shapes <list>', 'batch x heads x tokens x width of each, such as 8x3x197x64,4x4x256x64')
        .argParser(shapes)
        .default(SHAPES, SHAPES.map((shape) => shape.join('x')).join()),
    )
    .addOption(new Option('--time <ms>', 'how long to time each shape').argParser(count(MOST_TIME)).default(4000))
    .option('--quick', 'only show that everything runs: one run of each')
    .addOption(adapterOption())
    .option('--json', 'print JSON')
    .action(async (flags: ByHandFlags) => {
      const { benchByHand } = await import('./byHand.ts')
      await benchByHand(flags)
    })
}

function shapes(text: string): number[][] {
  return text.split(',').map((shape) => {
    const sizes = shape.split('x').map(number)
    if (sizes.length !== 4 || !sizes.every((size) => Number.isSafeInteger(size) && size >= 1))
      throw new InvalidArgumentError('It must be four whole numbers for each shape, such as 8x3x197x64.')
    return sizes
  })
}
