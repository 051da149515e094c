import { checkOptions, type OptionNames } from '../engine/base/options.ts'
import { branchShape, checkConfig, checkPrefix, type ModelConfig } from './config.ts'

/** Parameters of a model and of its parts. Of an ensemble, stem, branch and head are those of one member, and all members have them. */
export interface ParameterCount {
  /** Embedding, CLS token and position embedding. */
  stem: number
  /** One encoder layer. */
  layer: number
  /** One branch; of a ViT all its layers. */
  branch: number
  /** LayerNorm and classifier. */
  head: number
  total: number
}

/** Floating-point operations for one image; a multiply-add counts two. Of an ensemble, stem, branch and head are those of one member. */
export interface FlopCount {
  stem: number
  /** One encoder layer that computes every token. */
  layer: number
  /** The last layer of a branch, which takes fewer where dead tokens are skipped. */
  lastLayer: number
  branch: number
  head: number
  /** One forward pass. */
  forward: number
  /** Forward and backward pass of one loss, without the optimizer. */
  training: number
}

export interface CountOptions {
  /** Number of branches of the prefix that is counted; default all. */
  branches?: number
  /** Whether each branch's last layer computes only the CLS row where only that is read; default true. */
  skipDeadTokens?: boolean
}

const OPTIONS: OptionNames<CountOptions> = { branches: true, skipDeadTokens: true }

interface Sizes {
  /** Tokens of an image, CLS included. */
  tokens: number
  patchDim: number
  /** Width of all heads, heads * dimHead. */
  inner: number
  branches: number
  depth: number
  /** Stems, and as many heads: one, but for the members of an ensemble. */
  stems: number
}

function sizesOf(op: string, config: ModelConfig, options: CountOptions): Sizes {
  checkOptions(op, options, OPTIONS)
  const complete = checkConfig(config)
  const { imageSize, patchSize, channels, heads, dimHead } = complete
  return {
    tokens: (imageSize / patchSize) ** 2 + 1,
    patchDim: channels * patchSize ** 2,
    inner: heads * dimHead,
    branches: checkPrefix(complete, options.branches),
    stems: complete.architecture === 'ensemble' ? checkPrefix(complete, options.branches) : 1,
    depth: branchShape(complete).depth,
  }
}

/**
 * Counts parameters in closed form.
 * @throws UserError for a bad config, or a config of fewer branches than `options.branches`; ArgumentError for an unknown option
 */
export function countParameters(config: ModelConfig, options: CountOptions = {}): ParameterCount {
  const { tokens, patchDim, inner, branches, depth, stems } = sizesOf('countParameters', config, options)
  const { dim, mlpDim, classes, qkvBias } = config
  const stem = patchDim * dim + dim + dim + tokens * dim
  const attention = dim * 3 * inner + (qkvBias ? 3 * inner : 0) + inner * dim + dim
  const mlp = dim * mlpDim + mlpDim + mlpDim * dim + dim
  const layer = 2 * dim + attention + 2 * dim + mlp
  const branch = depth * layer
  const head = 2 * dim + dim * classes + classes
  return { stem, layer, branch, head, total: stems * (stem + head) + branches * branch }
}

/**
 * Counts the operations of the matrix products, attention's two included, in closed form. LayerNorm, softmax, GELU and additions
 * are left out, as is usual for model FLOP utilization. The backward pass makes two products for each of the forward pass, except
 * that images need no gradient; recomputation in the backward pass of a fused attention is not counted.
 * @throws UserError for a bad config, or a config of fewer branches than `options.branches`; ArgumentError for an unknown option
 */
export function countFlops(config: ModelConfig, options: CountOptions = {}): FlopCount {
  const { tokens, patchDim, inner, branches, depth, stems } = sizesOf('countFlops', config, options)
  const { dim, mlpDim, classes, pool } = config
  const skip = pool === 'cls' && (options.skipDeadTokens ?? true)

  /** Counts the operations of a layer that computes keys and values for all tokens, and everything else for `rows` rows. */
  const layerOf = (rows: number) => {
    const project = 2 * rows * dim * inner + 2 * tokens * dim * 2 * inner
    const attend = 2 * (2 * rows * tokens * inner)
    const out = 2 * rows * inner * dim
    const mlp = 2 * (2 * rows * dim * mlpDim)
    return project + attend + out + mlp
  }

  const stem = 2 * (tokens - 1) * patchDim * dim
  const layer = layerOf(tokens)
  const lastLayer = skip ? layerOf(1) : layer
  const branch = (depth - 1) * layer + lastLayer
  const head = 2 * dim * classes
  const forward = stems * (stem + head) + branches * branch
  return { stem, layer, lastLayer, branch, head, forward, training: 3 * forward - stems * stem }
}
