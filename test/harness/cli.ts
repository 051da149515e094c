import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

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
 */
export function runCli(
  args: readonly string[],
  options: {
    env?: Record<string, string>
    onStderr?: (text: string, kill: (signal: NodeJS.Signals) => void) => void
    closesStdout?: boolean
  } = {},
): Promise<CliResult> {
  const cli = fileURLToPath(new URL('./cli.js', import.meta.url))
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--enable-source-maps', cli, ...args], { env: { ...process.env, ...options.env } })
    let stdout = ''
    let stderr = ''
    if (options.closesStdout) child.stdout.destroy()
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

/** A line that Dawn's native code prints when it finds lavapipe; JavaScript cannot prevent it. */
const DAWN_WARNING = /^Warning: maxDynamic(Uniform|Storage)BuffersPerPipelineLayout artificially reduced/

/** Fails unless the command ends with exit code 2, prints one line to stderr that matches, and prints nothing to stdout. */
export async function expectUserError(args: readonly string[], message: RegExp): Promise<void> {
  const { code, stdout, stderr } = await runCli(args)
  const lines = stderr.split('\n').filter((line) => line !== '' && !DAWN_WARNING.test(line))
  const shown = `${args.join(' ')}: code ${code}, stderr ${JSON.stringify(stderr)}, stdout ${JSON.stringify(stdout.slice(0, 200))}`
  if (code !== 2 || lines.length !== 1 || stdout !== '') throw new Error(shown)
  if (!message.test(lines[0]!)) throw new Error(`does not match ${message}: ${shown}`)
}
