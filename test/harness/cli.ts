import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export interface CliResult {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs the command line in a process of its own. `onStderr` may act on what it says, for example kill it; `closesStdout` does not read it. */
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

/** What Dawn's native code prints when it finds lavapipe; nothing in JavaScript can stop it. */
const DAWN_WARNING = /^Warning: maxDynamic(Uniform|Storage)BuffersPerPipelineLayout artificially reduced/

/** Fails unless the command ended with exit code 2, one line on stderr that matches, and nothing on stdout. */
export async function expectUserError(args: readonly string[], message: RegExp): Promise<void> {
  const { code, stdout, stderr } = await runCli(args)
  const lines = stderr.split('\n').filter((line) => line !== '' && !DAWN_WARNING.test(line))
  const shown = `${args.join(' ')}: code ${code}, stderr ${JSON.stringify(stderr)}, stdout ${JSON.stringify(stdout.slice(0, 200))}`
  if (code !== 2 || lines.length !== 1 || stdout !== '') throw new Error(shown)
  if (!message.test(lines[0]!)) throw new Error(`does not match ${message}: ${shown}`)
}
