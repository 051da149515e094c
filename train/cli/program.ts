import { inspect } from 'node:util'
import { type Command, CommanderError } from 'commander'
import { DeviceLostError, OutOfMemoryError, reason, ShapeError, UserError } from '../../engine/index.ts'
import { version } from '../../package.json'
import { devicesCommand } from './devices.ts'
import { evalCommand } from './eval.ts'
import { makeCommand } from './options.ts'
import { predictCommand } from './predict.ts'
import { printableLines } from './printable.ts'
import { trainCommand } from './train.ts'

/** `paraformer` with the commands of this layer and those that lie above it. */
export function makeProgram(extra: readonly Command[] = []): Command {
  const program = makeCommand('paraformer')
    .description('Train and use ParaFormer, a shallow Transformer of parallel branches, on WebGPU.')
    .version(version)
    // Flags stand behind the command that takes them: commands of commands may have flags of the same names.
    .enablePositionalOptions()
    .addCommand(trainCommand())
    .addCommand(evalCommand())
    .addCommand(predictCommand())
    .addCommand(devicesCommand())
  for (const command of extra) program.addCommand(command)
  return program
}

/** Runs what the arguments of the process ask for and sets its exit code. */
export async function runProgram(program: Command): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', endOutput)
  try {
    if (process.argv.length <= 2) program.outputHelp()
    else await program.parseAsync()
  } catch (error) {
    process.exitCode = end(error)
  }
}

/** What a stream answers when nobody is there any more: a pipe whose reader has gone, as `head` does, a terminal that was closed. */
const GONE = ['EPIPE', 'EIO', 'ENXIO', 'ECONNRESET']

let told = false

/** Output that cannot be written ends nothing: whoever reads may go before the end. A full disk is an error, though. */
function endOutput(error: NodeJS.ErrnoException): void {
  if (GONE.includes(error.code ?? '')) return
  process.exitCode = 1
  if (!told) {
    told = true
    console.error(`paraformer: the output cannot be written (${error.code ?? error.message})`)
  }
}

/** Reports what ended the program and returns its exit code: 2 for what the user can mend. */
function end(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode
  if (error instanceof UserError || error instanceof ShapeError) {
    console.error(`paraformer: ${reason(error)}`)
    return 2
  }
  if (error instanceof OutOfMemoryError || error instanceof DeviceLostError) {
    console.error(`paraformer: ${reason(error)}`)
    return 1
  }
  console.error(printableLines(inspect(error)))
  return 1
}
