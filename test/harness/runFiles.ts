import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

/** A message about one file: the counts of `tally` and its times. `error` is what the file threw outside of a test. */
export interface FileResult {
  file: string
  registered: number
  passed: number
  seconds: number
  /** Seconds of the processors, those of ended child processes too where the system tells them. */
  cpu: number
  error?: string | undefined
  /** The lines that the file passed to `note()`. */
  notes: string[]
}

// Runs test files one after another in this process, and sends a FileResult after each. $TEST_BUNDLES has the bundles' paths as JSON,
// since tests may look at the arguments of the process.
Object.assign(globalThis, { UVU_DEFER: true })
const { exec } = await import('uvu')
const { tally } = await import('./suite.ts')
const queue = (globalThis as unknown as { UVU_QUEUE: unknown[][] }).UVU_QUEUE

/** Returns the seconds of the processors that this process and its ended children have taken. */
function cpuSeconds(): number {
  try {
    // Linux counts hundredths of seconds: of the process in fields 14 and 15, of its children in 16 and 17.
    const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]!.split(' ')
    return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / 100
  } catch {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1e6
  }
}

let failed = false
let counted = 0
for (const file of JSON.parse(process.env.TEST_BUNDLES!) as string[]) {
  // Some tests start their own file in another process.
  process.argv[1] = file
  const begin = performance.now()
  Object.assign(tally, { registered: 0, passed: 0, failed: 0, failures: [], notes: [] })
  queue.splice(0, queue.length, [null])
  let error: string | undefined
  try {
    await import(pathToFileURL(file).href)
    await exec()
  } catch (reason) {
    error = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason)
  }
  const { registered, passed, notes } = tally
  failed ||= error !== undefined || registered === 0 || passed < registered
  const seconds = (performance.now() - begin) / 1000
  const total = cpuSeconds()
  const cpu = total - counted
  counted = total
  process.send!({ file, registered, passed, seconds, cpu, error, notes } satisfies FileResult)
}
process.exitCode = failed ? 1 : 0
// A test that failed may have left open what keeps a process alive.
if (failed) setTimeout(() => process.exit(1), 5000)
