// The sizes and options of attention, and where its operands lie.
import type { RandomWords } from '../random/random.ts'

/** Where a [B, H, T, Dh] operand lies in its buffer, in elements. Neighbours along Dh are adjacent. */
export type RowView = [offset: number, batch: number, head: number, token: number]

/** The options of a problem; without any of them it is plain attention. */
export interface AttentionOptions extends Partial<RandomWords> {
  /** Whether query i of a head sees keys 0 to i alone. */
  causal?: boolean
  /** The kind of mask: float32 numbers that are added to scores, where -Infinity hides, or int32, where 0 hides. */
  masks?: 'additive' | 'boolean'
  /** Where the mask [B, heads of queries, T, Tk] lies, in elements: its offset and the strides of batch, head and query. */
  mask?: RowView
  /** The stride of keys in the mask. */
  maskStep?: number
  /**
   * T, the queries of one head. Heads that share keys follow each other as one head of more queries, in which query i has the position
   * i % period. Without it all queries are of one head.
   */
  period?: number
  /** The number p * 2^32: pairs whose random word is below it are dropped. Without it nothing is. */
  threshold?: number
  /** 1 / (1 - p), the factor of the other probabilities. */
  keepScale?: number
}

/** The sizes of attention: queries [batch, heads, queries, width] and keys [batch, heads, keys, width]. */
export interface AttentionShape extends AttentionOptions {
  batch: number
  heads: number
  queries: number
  keys: number
  /** Dh, the elements of a head's row. */
  width: number
  /** The factor of the scores, usually width ** -0.5. */
  scale: number
  /** The element type of all operands and their gradients; float32 where it is left out. Log-sum-exps and deltas are float32. */
  dtype?: 'f16'
}
