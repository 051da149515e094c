import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type Device, reason } from '../../engine/index.ts'
import type { Budget } from '../doBench.ts'
import { type Operand, operandsOf } from '../operands.ts'
import { prepareOurs } from '../ours.ts'
import type { Quantiles } from '../statistics.ts'
import { shapeOf, type Workload } from '../workloads.ts'
import { checkMoved, compareLast, compareValues, type Named } from './compare.ts'
import type { PeerFailure } from './runPeer.ts'

/** PyTorch's times for the workloads, or the reason why there are none. */
export type TorchReport =
  | {
      version: string
      device: string
      /** Threads of the processor and the library that computes products, unless a GPU does. */
      threads?: number
      blas?: string
      times: ({ workload: string; shape: string } & Quantiles)[]
      failures: PeerFailure[]
    }
  | { reason: string }

/** The first line of the program. */
interface Opened {
  version: string
  device: string
  threads?: number
  blas?: string
}

/** The line of the program for a workload; values lie in files of the same names, by name and length. */
type Answer =
  | { reason: string }
  | ({ times: Quantiles } & Record<'before' | 'last' | 'after', [name: string, length: number][]>)

const PROGRAM = 'bench/peers/time_torch.py'

/** Pythons to try: the one of PYTHON, or the first on the path and the distribution's, which has packages of its own. */
const PYTHONS = process.env.PYTHON ? [process.env.PYTHON] : ['python3', '/usr/bin/python3']

/** Settings of `timeTorch`. */
export interface TorchOptions {
  /** Opens the device on which ours computes the values to compare with. */
  openDevice(): Promise<Device>
  budget: Budget
  /** Seconds for each workload. */
  limit: number
  onProgress?(done: number, workload: Workload): void
}

/**
 * Times the workloads in PyTorch, on CUDA if there is one, else on the CPU with a BLAS and all threads. It computes on our operands, and
 * its values are compared with ours and with float64.
 */
export async function timeTorch(workloads: readonly Workload[], options: TorchOptions): Promise<TorchReport> {
  const reasons: string[] = []
  for (const python of PYTHONS) {
    const torch = new Torch(python)
    try {
      return await timeIn(torch, workloads, options)
    } catch (error) {
      reasons.push(`${python}: ${reason(error)}`)
    } finally {
      torch.stop()
    }
  }
  return { reason: reasons.join('; ') }
}

async function timeIn(torch: Torch, workloads: readonly Workload[], options: TorchOptions): Promise<TorchReport> {
  const opened = await torch.read<Opened>(options.limit)
  const times: ({ workload: string; shape: string } & Quantiles)[] = []
  const failures: PeerFailure[] = []
  const device = await options.openDevice()
  const folder = await mkdtemp(join(tmpdir(), 'paraformer-torch-'))
  try {
    for (const [done, w] of workloads.entries()) {
      options.onProgress?.(done, w)
      const named = { workload: w.kind, shape: shapeOf(w) }
      try {
        times.push({ ...named, ...(await timeOne(torch, device, folder, w, options)) })
      } catch (error) {
        failures.push({ ...named, peer: 'PyTorch', reason: reason(error), offered: true })
      }
    }
  } finally {
    device.destroy()
    await rm(folder, { recursive: true, force: true })
  }
  return { ...opened, times, failures }
}

/** Times one workload. @throws Error when it fails, and for values that differ from ours or from float64 */
async function timeOne(
  torch: Torch,
  device: Device,
  folder: string,
  w: Workload,
  { budget, limit }: TorchOptions,
): Promise<Quantiles> {
  const operands = operandsOf(w)
  const entries = Object.entries(operands)
  for (const [i, [, { data }]] of entries.entries()) await writeFile(join(folder, String(i)), data)
  const answer = await torch.ask<Answer>({ folder, workload: w, operands: entries.map(describe), ...budget }, limit)
  if ('reason' in answer) throw new Error(answer.reason)
  const read = (name: 'before' | 'last' | 'after') => readNamed(join(folder, name), answer[name])
  const before = await read('before')
  const ours = prepareOurs(device, w, operands)
  try {
    const mine = await ours.values()
    compareValues(w, operands, mine, before)
    const [last, after] = [await read('last'), await read('after')]
    compareLast(w, operands, mine.out ?? mine.loss!, last.last!)
    if (ours.training) checkMoved('its', before, after)
  } finally {
    ours.dispose()
    device.trim()
  }
  return answer.times
}

function describe([name, { shape, data }]: [string, Operand]): [string, number[], string] {
  return [name, shape, data instanceof Int32Array ? 'int32' : 'float32']
}

/** Reads values that lie one after the other in a file. */
async function readNamed(path: string, names: readonly [name: string, length: number][]): Promise<Named> {
  const bytes = await readFile(path)
  const all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
  const values: Named = {}
  let at = 0
  for (const [name, length] of names) {
    values[name] = all.subarray(at, at + length)
    at += length
  }
  return values
}

/** The process of PyTorch, which answers a line with a line. */
class Torch {
  readonly #child
  readonly #lines: AsyncIterator<string>
  #errors = ''

  constructor(python: string) {
    this.#child = spawn(python, [PROGRAM], { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child.stderr.on('data', (text) => {
      this.#errors += text
    })
    this.#child.on('error', (error) => {
      this.#errors += `does not start (${error.message})`
    })
    // A process that ends at once never reads its task.
    this.#child.stdin.on('error', () => {})
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  ask<T>(task: object, seconds: number): Promise<T> {
    this.#child.stdin.write(`${JSON.stringify(task)}\n`)
    return this.read(seconds)
  }

  /** Reads the next answer. @throws Error when the process has ended, or ends because it takes longer than the limit */
  async read<T>(seconds: number): Promise<T> {
    let late = false
    const timer = setTimeout(() => {
      late = true
      this.stop()
    }, seconds * 1000)
    const { value, done } = await this.#lines.next()
    clearTimeout(timer)
    if (late) throw new Error(`took longer than ${seconds} s`)
    if (!done) return JSON.parse(value) as T
    // The last words arrive with the end of the process.
    if (this.#child.exitCode === null && this.#child.pid !== undefined)
      await new Promise((resolve) => this.#child.once('close', resolve))
    throw new Error(this.#errors.trim().split('\n').at(-1) || `ended with ${this.#child.signalCode ?? this.#child.exitCode}`)
  }

  stop(): void {
    this.#child.kill('SIGKILL')
  }
}
