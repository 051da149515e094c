import type { Tune } from '../../engine/autotune/tune.ts'

/** The flags of `paraformer bench streams`, as commander parses them. The model's sizes are flags too, see `SIZE_FLAGS`. */
export interface StreamsFlags {
  batch?: number[]
  preset?: string
  devices: number
  microBatches: number[]
  quick?: boolean
  time?: number
  adapter?: string
  tune?: Tune
  json?: boolean
  csv?: boolean
}
