import { suite as uvuSuite } from 'uvu'

/**
 * Counts of the tests registered and ended in this process. The runner compares them, since uvu's exit code hides tests that
 * never ran.
 */
export const tally = { registered: 0, passed: 0, failed: 0, failures: [] as string[], notes: [] as string[] }

/** Whether this is a file of `npm test`, which leaves out what `npm run test:full` and a run of the file by its name do. */
export const quick = globalThis.process?.env.PARAFORMER_PIPELINES !== undefined

/** Has the runner print a line below the file's counts, though all of its tests pass: what could not be run here, and why. */
export function note(line: string): void {
  tally.notes.push(line)
}

type Register = (title: string, body: () => void | Promise<void>) => void

/** The tests of one file; those of `slow` are left out where `quick` holds. Call `run()` once, at the end. There are no hooks, because uvu loses failures in them. */
export function suite(name: string): { test: Register; slow: Register; run(): void } {
  const tests = uvuSuite(name)
  const test: Register = (title, body) => {
    tally.registered++
    tests(title, async () => {
      try {
        await body()
        tally.passed++
      } catch (error) {
        tally.failed++
        tally.failures.push(`${name}: ${title}: ${error instanceof Error ? error.message : error}`)
        throw error
      }
    })
  }
  return { test, slow: quick ? () => {} : test, run: () => tests.run() }
}

if (typeof process !== 'undefined' && typeof process.on === 'function') {
  process.on('exit', () => {
    if (tally.registered !== tally.passed || tally.failed > 0) process.exitCode = 1
    if (!process.env.TEST_BUNDLES) console.log(`${tally.passed} passed, ${tally.registered - tally.passed} failed`)
  })
} else {
  // The browser's runner reads the counts here.
  Object.assign(globalThis, { tally })
}
