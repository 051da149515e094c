import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Peak memory of this process, in MiB. */
export function peakMemory(): number {
  // On Linux, maxRSS of a forked process begins at its parent's, so the peak comes from /proc.
  const found = process.platform === 'linux' ? /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8')) : undefined
  return (found ? Number(found[1]) : process.resourceUsage().maxRSS) / 1024
}

/** Runs the current test file in a process of its own with one argument. @returns the JSON that it prints in its first line */
export function peakMemoryOf<T>(argument: string): T {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [process.argv[1]!, argument], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ended with code ${status} ${signal}: ${stderr}`)
  // The next line counts tests, none of which run there.
  return JSON.parse(stdout.split('\n')[0]!) as T
}
