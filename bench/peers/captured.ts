import type { Workload } from '../workloads.ts'
import type { Dispatch } from './dispatches.ts'

/** What a library dispatches for a workload, or why it does not. */
export interface Captured {
  workload: Workload
  shape: string
  dispatches: Dispatch[]
  reason?: string
}
