// Messages between the page and the worker of its tab Bench, which has a device of its own.
import type { BenchReport } from '../bench/runBench.ts'
import type { Group } from '../bench/target.ts'

/** The targets to time. */
export interface BenchRequest {
  /** An empty list times everything. */
  groups: Group[]
  /** A regular expression for `group/name/variant shape`; default all. */
  filter?: string
  /** Whether it only shows that everything runs. */
  quick: boolean
}

/** The functions of the worker. */
export interface BenchCalls {
  bench(request: BenchRequest): Promise<BenchReport>
  /** Ends the bench after what is timed now; what was found is its result. */
  stop(): Promise<void>
}

/** A message that the worker sends without being asked: the target that comes next, and how many are done. */
export interface BenchTold {
  done: number
  of: number
  what: string
}
