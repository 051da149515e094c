import { spawn } from 'node:child_process'
import type { Quantiles } from '../statistics.ts'
import { shapeOf, type Workload } from '../workloads.ts'

/** What PyTorch takes for the same workloads, or why nobody knows. */
export type TorchReport =
  | { version: string; device: string; times: ({ workload: string; shape: string } & Quantiles)[] }
  | { reason: string }

const PROGRAM = 'bench/peers/time_torch.py'

/** Times the workloads in PyTorch where Python finds it, on CUDA where that is, on the CPU else. */
export function timeTorch(workloads: readonly Workload[], time: number, limit: number): Promise<TorchReport> {
  return new Promise((resolve) => {
    const child = spawn('python3', [PROGRAM], { stdio: ['pipe', 'pipe', 'pipe'] })
    let output = ''
    let errors = ''
    child.stdout.on('data', (text) => {
      output += text
    })
    child.stderr.on('data', (text) => {
      errors += text
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), limit * workloads.length * 1000)
    child.on('error', (error) => resolve({ reason: `python3 does not start (${error.message})` }))
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (code === 0) return resolve(JSON.parse(output) as TorchReport)
      resolve({ reason: errors.trim().split('\n').at(-1) || `python3 ended with ${signal ?? `code ${code}`}` })
    })
    child.stdin.on('error', () => {})
    child.stdin.end(JSON.stringify({ time, workloads: workloads.map((w) => ({ ...w, shape: shapeOf(w) })) }))
  })
}
