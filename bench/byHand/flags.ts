/** The flags of `paraformer bench byHand`, as commander parses them. */
export interface ByHandFlags {
  /** Batch, heads, tokens and width of each shape. */
  shapes: number[][]
  time: number
  quick?: boolean
  adapter?: string
  json?: boolean
}
