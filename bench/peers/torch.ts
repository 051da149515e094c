import { spawn } from 'node:child_process'
import type { Quantiles } from '../statistics.ts'
import { shapeOf, type Workload } from '../workloads.ts'

/** What PyTorch takes for the same workloads, or why nobody knows. */
export type TorchReport =
  | { version: string; device: string; times: ({ workload: string; shape: string } & Quantiles)[] }
  | { reason: string }

const PROGRAM = 'bench/peers/time_torch.py'

/** Pythons to try: the user's, and the distribution's, whose packages another one on the path does not see. */
const PYTHONS = process.env.PYTHON ? [process.env.PYTHON] : ['python3', '/usr/bin/python3']

/**
 * Times the workloads in PyTorch where a Python finds it: on CUDA where that is, else on the CPU.
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
    // One that ends at once does not read its task.
    child.stdin.on('error', () => {})
    child.stdin.end(task)
  })
}
