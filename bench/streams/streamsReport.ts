import type { AdapterSummary } from '../../engine/index.ts'
import type { Pass } from './candidate.ts'
import type { Path } from './criticalPath.ts'
import type { Row } from './rows.ts'
import type { Sizes } from './sizes.ts'

/** All that `paraformer bench streams` found. */
export interface StreamsReport {
  /** ISO 8601. */
  date: string
  device: AdapterSummary
  /** Numbers of parameters of ParaFormer and ViT. */
  parameters: [number, number]
  sizes: Sizes
  rows: Row[]
  /**
   * Entries for rows that are the fastest of several candidates: their milliseconds by the mode of each device, or by the
   * number of micro-batches.
   */
  choices: { batch: number; pass: Pass; name: 'devices' | 'pipeline'; ms: Record<string, number> }[]
  paths: Path[]
  failures: { batch: number; pass: Pass; name: string; reason: string }[]
}
