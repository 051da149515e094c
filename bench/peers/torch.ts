import { spawn } from 'node:child_process'
import type { Quantiles } from '../statistics.ts'
import { shapeOf, type Workload } from '../workloads.ts'

/** PyTorch's times for the workloads, or the reason why there are none. */
export type TorchReport =
  | { version: string; device: string; times: ({ workload: string; shape: string } & Quantiles)[] }
  | { reason: string }

const PROGRAM = 'bench/peers/time_torch.py'

/** Pythons to try: the one of PYTHON, or the first on the path and the distribution's, which has packages of its own. */
const PYTHONS = process.env.PYTHON ? [process.env.PYTHON] : ['python3', '/usr/bin/python3']

/**
 * Times the workloads in PyTorch, on CUDA if there is one, else on the CPU.
 * @param time milliseconds for each
 * @param limit seconds for each
 */
export async function timeTorch(workloads: readonly Workload[], time: number, limit: number): Promise<TorchReport> {
  const task = JSON.stringify({ time, workloads: workloads.map((w) => ({ ...w, shape: shapeOf(w) })) })
  const reasons: string[] = []
  for (const python of PYTHONS) {
    const report = await run(python, task, limit * workloads.length)
    if (!('reason' in report)) return report
    reasons.push(`${python}: ${report.reason}`)
  }
  return { reason: reasons.join('; ') }
}

function run(python: string, task: string, seconds: number): Promise<TorchReport> {
  return new Promise((resolve) => {
    const child = spawn(python, [PROGRAM], { stdio: ['pipe', 'pipe', 'pipe'] })
    let output = ''
    let errors = ''
    child.stdout.on('data', (text) => {
      output += text
    })
    child.stderr.on('data', (text) => {
      errors += text
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000)
    child.on('error', (error) => resolve({ reason: `does not start (${error.message})` }))
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (code === 0) return resolve(JSON.parse(output) as TorchReport)
      resolve({ reason: errors.trim().split('\n').at(-1) || `ended with ${signal ?? `code ${code}`}` })
    })
    // A process that ends at once never reads its task.
    child.stdin.on('error', () => {})
    child.stdin.end(task)
  })
}
