import type { Mode } from '../../model/index.ts'

/** The flags of `paraformer bench schemes`, as commander parses them. The model's sizes are flags too. */
export interface SchemesFlags {
  batch: number
  mode: Mode
  preset: string
  quick?: boolean
  time: number
  adapter?: string
  json?: boolean
}
