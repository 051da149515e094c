import type { Workload } from '../workloads.ts'
import type { Dispatch } from './dispatches.ts'

/** The dispatches of a library for a workload, or the reason why there are none. */
export interface Captured {
  workload: Workload
  shape: string
  dispatches: Dispatch[]
  reason?: string
}
