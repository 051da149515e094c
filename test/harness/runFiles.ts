import { pathToFileURL } from 'node:url'

/** A message about one file: the counts of `tally` and the time. `error` is what the file threw outside of a test. */
export interface FileResult {
  file: string
  registered: number
  passed: number
  seconds: number
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

let failed = false
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
  process.send!({ file, registered, passed, seconds, error, notes } satisfies FileResult)
}
process.exitCode = failed ? 1 : 0
