import { suite as uvuSuite } from 'uvu'

/**
 * Counts of the tests registered and ended in this process. The runner compares them, since uvu's exit code hides tests that
 * never ran.
 */
export const tally = { registered: 0, passed: 0, failed: 0, failures: [] as string[] }

/** The tests of one file. Call `run()` once, at the end. There are no hooks, because uvu loses failures in them. */
export function suite(name: string): { test(title: string, body: () => void | Promise<void>): void; run(): void } {
  const tests = uvuSuite(name)
  return {
    test(title, body) {
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
    },
    run: () => tests.run(),
  }
}

if (typeof process !== 'undefined' && typeof process.on === 'function') {
  process.on('exit', () => {
    if (tally.registered !== tally.passed || tally.failed > 0) process.exitCode = 1
    process.send?.(tally)
    if (!process.send) console.log(`${tally.passed} passed, ${tally.registered - tally.passed} failed`)
  })
} else {
  // The browser's runner reads the counts here.
  Object.assign(globalThis, { tally })
}
