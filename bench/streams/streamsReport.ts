import type { AdapterSummary } from '../../engine/index.ts'
import type { Pass } from './candidate.ts'
import type { Path } from './criticalPath.ts'
import type { Row } from './rows.ts'
import type { Sizes } from './sizes.ts'

/** All that `paraformer bench streams` found out. */
export interface StreamsReport {
  date: string
  device: AdapterSummary
  /** Of ParaFormer and ViT. */
  parameters: [number, number]
  sizes: Sizes
  rows: Row[]
  /** What was tried where one row stands for the fastest of several: milliseconds by mode of each device, or number of micro-batches. */
  choices: { batch: number; pass: Pass; name: 'devices' | 'pipeline'; ms: Record<string, number> }[]
  paths: Path[]
  failures: { batch: number; pass: Pass; name: string; reason: string }[]
}
