import type { Tune } from '../engine/autotune/tune.ts'
import type { Timer } from './doBench.ts'

/** The flags of `paraformer bench`, as commander parses them. */
export interface BenchFlags {
  list?: boolean
  variant?: string
  filter?: string
  shape?: string
  batch?: number
  quick?: boolean
  time?: number
  timer?: Timer
  flush: boolean
  adapter?: string
  tune?: Tune
  json?: boolean
  csv?: boolean
  html?: string
  history: string | boolean
}
