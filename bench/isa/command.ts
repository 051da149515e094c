import { type Command, Option } from 'commander'
import { makeCommand } from '../../train/cli/options.ts'
import type { IsaFlags } from './flags.ts'
import { MACHINES } from './machine.ts'

/** Makes the command `paraformer bench isa`. */
export function isaCommand(): Command {
  const families = MACHINES.map(({ family }) => family)
  return makeCommand('isa', 'bench isa ')
    .description("judge the kernels by the code that AMD's open compiler makes of them, on a machine without such a GPU")
    .addOption(new Option('--family <name>', 'the GPU to compile for').choices(families).default(families[0]!))
    .option('--filter <regexp>', 'only shaders whose `kernel/variant shape` matches')
    .option('--variant <name>', 'only this variant of kernels')
    .option('--chosen', 'only the variant that each kernel chooses on this GPU')
    .option(
      '--peers',
      'set the code of jax-js, TensorFlow.js and onnxruntime-web beside ours (in a clone; installs them, 220 MB)',
    )
    .option('--asm <folder>', 'also write the machine code of each shader to a file of this folder')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Nothing is executed: RADV, of Mesa's Vulkan drivers, compiles for a GPU that need not be there, and a small layer swallows all commands.
What is shown is the code and what follows from it; times are estimates from rates of the GPU, never measurements. Needs Linux,
mesa-vulkan-drivers (npx paraformer setup --lavapipe) and a C compiler.

  paraformer bench isa --chosen
  paraformer bench isa --filter '^attention/tiled' --asm code
  paraformer bench isa --family navi21 --peers`,
    )
    .action(async (flags: IsaFlags) => {
      const { benchIsa } = await import('./isa.ts')
      await benchIsa(flags)
    })
}
