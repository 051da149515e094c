// Runs random programs. Captured runs must give the bits of eager ones, and coalesced runs must give their values; no run may
// keep memory. PARAFORMER_FUZZ_SEEDS=100-200 takes other seeds.
import { requestDevice, setDefaultDevice } from '../../engine/index.ts'
import { followCalls, isHalf, type Run, type Trace } from '../harness/randomCalls.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`random programs, captured and coalesced, on ${device.summary.name}`)

/** The difference of two lists relative to the norm of the second, or relative to the norm of small numbers if that is larger. */
function difference(actual: Float32Array, expected: Float32Array): number {
  if (actual.length !== expected.length) return Number.NaN
  let [error, norm] = [0, 1e-3 * expected.length]
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i]! - expected[i]!) ** 2
    norm += expected[i]! ** 2
  }
  return Math.sqrt(error / norm)
}

/** Fails for traces that differ by more than the tolerance; with a tolerance of 0, for any bit that differs. */
function compare(actual: Trace, expected: Trace, tolerance: number, what: string): void {
  if (actual.names.join() !== expected.names.join()) throw new Error(`${what}: other things were read`)
  const bits = ({ buffer }: Float32Array) => new Uint32Array(buffer).join()
  for (const [i, name] of actual.names.entries()) {
    const [got, wanted] = [actual.values[i]!, expected.values[i]!]
    const error = difference(got, wanted)
    const same = tolerance === 0 ? bits(got) === bits(wanted) : error <= tolerance
    if (!same) throw new Error(`${what}: ${name} differs by ${error}`)
  }
}

/** The trace of one run. Fails for a run that does not free all its memory. */
async function follow(seed: number, run: Run): Promise<{ trace: Trace; what: string }> {
  const what = `seed ${seed}, ${run.mode}, ${run.captured ? 'captured' : 'eager'}`
  // On a new device calls run while pipelines are still compiling.
  const on = seed % 6 === 5 && run.captured ? await requestDevice() : device
  const before = on.memory.liveBytes
  try {
    const trace = await followCalls(seed, run)
    const left = on.memory.liveBytes - before
    if (left !== 0) throw new Error(`${left} bytes are left over`)
    return { trace, what }
  } catch (error) {
    throw new Error(`${what}: ${(error as Error).message}`, { cause: error })
  } finally {
    if (on !== device) on.destroy()
    setDefaultDevice(device)
  }
}

async function checkSeed(seed: number): Promise<void> {
  const serial = await follow(seed, { mode: 'serial', captured: false })
  const exact: Run[] = [
    { mode: 'serial', captured: true },
    { mode: 'streams', captured: false },
    { mode: 'streams', captured: true },
  ]
  for (const run of exact) {
    const { trace, what } = await follow(seed, run)
    compare(trace, serial.trace, 0, what)
  }
  for (const mode of ['coalesced', 'mixed'] as const) {
    const eager = await follow(seed, { mode, captured: false })
    compare(eager.trace, serial.trace, isHalf(seed, device) ? 1e-3 : 1e-6, eager.what)
    const replayed = await follow(seed, { mode, captured: true })
    compare(replayed.trace, eager.trace, 0, `${replayed.what}, against eager`)
  }
}

const [from, to] = (globalThis.process?.env.PARAFORMER_FUZZ_SEEDS ?? '8-23').split('-').map(Number) as [number, number]
for (let seed = from; seed <= to; seed++) test(`seed ${seed}`, () => checkSeed(seed))

test('ends', () => device.destroy())
run()
