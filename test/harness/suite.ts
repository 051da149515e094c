import { suite as uvuSuite } from 'uvu'

/** Tests registered and ended in this process, which the runner compares: uvu's own exit code can hide what did not run. */
export const tally = { registered: 0, passed: 0, failed: 0, failures: [] as string[] }

/** A group of tests of one file. Call `run()` once, at the end; no hooks (uvu loses failures in them). */
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
  // The runner of the browser looks here.
  Object.assign(globalThis, { tally })
}
