import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { benchCommand } from '../../bench/command.ts'
import { type Device, defaultDevice, setDefaultDevice } from '../../engine/index.ts'
import { makeProgram, runCommand } from '../../train/cli/program.ts'

/** How a command ended. */
export interface CliResult {
  code: number | null
  stdout: string
  stderr: string
}

/**
 * Runs the command line in a process of its own.
 * @param options.onStderr called with all of stderr so far; may kill the process
 * @param options.closesStdout closes stdout at once, so that the process cannot write to it
 * @param options.stdin the content of standard input, which else stays open
 */
export function runCli(
  args: readonly string[],
  options: {
    env?: Record<string, string>
    onStderr?: (text: string, kill: (signal: NodeJS.Signals) => void) => void
    closesStdout?: boolean
    stdin?: string | Uint8Array
  } = {},
): Promise<CliResult> {
  const cli = fileURLToPath(new URL('./cli.js', import.meta.url))
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--enable-source-maps', cli, ...args], { env: { ...process.env, ...options.env } })
    let stdout = ''
    let stderr = ''
    if (options.closesStdout) child.stdout.destroy()
    if (options.stdin !== undefined) child.stdin.end(options.stdin)
    child.stdout.on('data', (text) => {
      stdout += text
    })
    child.stderr.on('data', (text) => {
      stderr += text
      options.onStderr?.(stderr, (signal) => child.kill(signal))
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })
}

const SIGNALS = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const

/** The default device, if there is one. */
function deviceNow(): Device | undefined {
  try {
    return defaultDevice()
  } catch {
    return undefined
  }
}

/** Runs the command line in this process, which saves the start of another one. Nothing else may print meanwhile. */
export async function runHere(args: readonly string[]): Promise<CliResult> {
  const { stdout, stderr } = process
  const device = deviceNow()
  const { exitCode } = process
  process.exitCode = undefined
  const printed = new Map([stdout, stderr].map((stream) => [stream, '']))
  const writes = [...printed.keys()].map((stream) => {
    const { write } = stream
    stream.write = (text: Uint8Array | string) => {
      printed.set(stream, `${printed.get(stream)}${text}`)
      return true
    }
    return () => {
      stream.write = write
    }
  })
  const handlers = SIGNALS.map((signal) => process.listeners(signal))
  const code = await runCommand(makeProgram([benchCommand()]), args).finally(() => {
    if (device) setDefaultDevice(device)
    for (const restore of writes) restore()
    // A command that fails leaves its handlers to the end of the process.
    SIGNALS.forEach((signal, i) => {
      for (const listener of process.listeners(signal)) if (!handlers[i]!.includes(listener)) process.off(signal, listener)
    })
  })
  const ended = code ?? Number(process.exitCode ?? 0)
  process.exitCode = exitCode
  return { code: ended, stdout: printed.get(stdout)!, stderr: printed.get(stderr)! }
}

/** Fails unless the command ends with exit code 2, prints one line to stderr that matches, and prints nothing to stdout. */
export async function expectUserError(args: readonly string[], message: RegExp): Promise<void> {
  const { code, stdout, stderr } = await runHere(args)
  const lines = stderr.split('\n').filter((line) => line !== '')
  const shown = `${args.join(' ')}: code ${code}, stderr ${JSON.stringify(stderr)}, stdout ${JSON.stringify(stdout.slice(0, 200))}`
  if (code !== 2 || lines.length !== 1 || stdout !== '') throw new Error(shown)
  if (!message.test(lines[0]!)) throw new Error(`does not match ${message}: ${shown}`)
}
