import { inspect } from 'node:util'
import { type Command, CommanderError } from 'commander'
import { DeviceLostError, OutOfMemoryError, reason, ShapeError, UserError } from '../../engine/index.ts'
import { version } from '../../package.json'
import { compressCommand } from './compress.ts'
import { devicesCommand } from './devices.ts'
import { evalCommand } from './eval.ts'
import { exportCommand, importCommand } from './exchange.ts'
import { expandCommand } from './expand.ts'
import { fleetCommand } from './fleet.ts'
import { makeCommand } from './options.ts'
import { predictCommand } from './predict.ts'
import { printableLines } from './printable.ts'
import { reportCommand } from './report.ts'
import { setupCommand } from './setup.ts'
import { studyCommand } from './study.ts'
import { trainCommand } from './train.ts'
import { webCommand } from './web.ts'
import { workerCommand } from './worker.ts'

/** Makes the program `paraformer` with the commands of this layer. @param extra commands of higher layers */
export function makeProgram(extra: readonly Command[] = []): Command {
  const program = makeCommand('paraformer')
    .description('Train and use ParaFormer, a shallow Transformer of parallel branches, on WebGPU.')
    .version(version)
    // Flags come after the command that takes them, so that subcommands may have flags of the same names.
    .enablePositionalOptions()
    .addCommand(trainCommand())
    .addCommand(evalCommand())
    .addCommand(predictCommand())
    .addCommand(reportCommand())
    .addCommand(compressCommand())
    .addCommand(expandCommand())
    .addCommand(devicesCommand())
    .addCommand(studyCommand())
    .addCommand(workerCommand())
    .addCommand(fleetCommand())
    .addCommand(importCommand())
    .addCommand(exportCommand())
    .addCommand(webCommand())
    .addCommand(setupCommand())
  for (const command of extra) program.addCommand(command)
  return program
}

/** Runs the command of the process's arguments and sets the exit code. */
export async function runProgram(program: Command): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', endOutput)
  const failed = await runCommand(program, process.argv.slice(2))
  if (failed !== undefined) process.exitCode = failed
}

/** Runs the command of these arguments, and prints the error that ends it. @returns the exit code of an error, or undefined */
export async function runCommand(program: Command, args: readonly string[]): Promise<number | undefined> {
  try {
    if (args.length === 0) program.outputHelp()
    else await program.parseAsync(args, { from: 'user' })
    return undefined
  } catch (error) {
    return end(error)
  }
}

/** Error codes of a stream without a reader: a pipe whose reader has ended, as `head` does, or a closed terminal. */
const GONE = ['EPIPE', 'EIO', 'ENXIO', 'ECONNRESET']

let told = false

/** Handles output that cannot be written: the command goes on. A reader that has gone is no error, a full disk is one. */
function endOutput(error: NodeJS.ErrnoException): void {
  if (GONE.includes(error.code ?? '')) return
  process.exitCode = 1
  if (!told) {
    told = true
    console.error(`paraformer: the output cannot be written (${error.code ?? error.message})`)
  }
}

/** Reports the error that ended the program and returns the exit code, which is 2 for a mistake of the user. */
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
