import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** The most memory that this process took so far, in MiB. */
export function peakMemory(): number {
  // The resource usage of a process begins with its parent's where it was forked.
  const found = process.platform === 'linux' ? /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8')) : undefined
  return (found ? Number(found[1]) : process.resourceUsage().maxRSS) / 1024
}

/** Runs this very test file in a process of its own with one argument, and returns the JSON that it prints. */
export function peakMemoryOf<T>(argument: string): T {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [process.argv[1]!, argument], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ended with code ${status} ${signal}: ${stderr}`)
  // What follows is the count of tests that did not run there.
  return JSON.parse(stdout.split('\n')[0]!) as T
}
