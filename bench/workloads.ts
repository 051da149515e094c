import { countFlops, DEFAULT_CONFIGS, type ParaFormerConfig } from '../model/index.ts'

/** A computation on which libraries are compared. */
export type Workload =
  /** `batch` products of [m, k] and [k, n]; a T in `form` marks an operand that lies transposed in memory. */
  | { kind: 'matmul'; form: 'NN' | 'NT' | 'TN'; batch: number; m: number; k: number; n: number }
  | { kind: 'softmax'; rows: number; n: number }
  | { kind: 'layerNorm'; rows: number; n: number }
  /** With `causal` a token sees itself and those before it. */
  | { kind: 'attention'; batch: number; heads: number; tokens: number; width: number; causal?: true }
  /** The softmax of scores [batch, heads, tokens, tokens] plus a mask [tokens, tokens] of 0 and -Infinity. */
  | { kind: 'maskedSoftmax'; batch: number; heads: number; tokens: number }
  /** The product 'bhtd,bhsd->bhts'. */
  | { kind: 'einsum'; batch: number; heads: number; tokens: number; width: number }
  /** The k largest of each row, the largest first. */
  | { kind: 'topk'; rows: number; n: number; k: number }
  /** Each row in ascending order. */
  | { kind: 'sort'; rows: number; n: number }
  /** Adds `count` rows to those of [rows, width] that an index names. */
  | { kind: 'scatterAdd'; rows: number; width: number; count: number }
  /** A 3 x 3 convolution, padded by 1, of images of `size` x `size`. */
  | { kind: 'conv2d'; batch: number; channels: number; size: number }
  | { kind: 'add'; n: number }
  /** `ops` additions of [size, size], each of the sum before and the same operand, op by op without a tape, graph or compiler. */
  | { kind: 'addChain'; size: number; ops: number }
  /** As many products, the gradient of the last one by the first factor, and the sum of both, op by op too. */
  | { kind: 'mulChain'; size: number; ops: number }
  /** A step of two linear layers with GELU between them: cross-entropy, backward pass, plain SGD. */
  | { kind: 'mlpStep'; batch: number; inputs: number; hidden: number; classes: number }
  /** A step of two such convolutions with a ReLU between them: mean square of the result, backward pass, plain SGD. */
  | { kind: 'convStep'; batch: number; channels: number; size: number }
  /** A step of causal attention whose q, k and v are the parameters: sum of squares of its output, backward pass, plain SGD. */
  | { kind: 'attentionStep'; batch: number; heads: number; tokens: number; width: number }
  /** A step of a pre-norm ViT layer: mean square of its output, backward pass, plain SGD. */
  | { kind: 'blockStep'; batch: number; tokens: number; dim: number; heads: number; mlp: number }
  /** A step of a whole model: cross-entropy, backward pass, Adam. */
  | { kind: 'modelStep'; batch: number; config: ParaFormerConfig }

export type WorkloadOf<K extends Workload['kind']> = Extract<Workload, { kind: K }>

/** Learning rate of the steps: small, so that the parameters hardly change in a long measurement. */
export const LEARNING_RATE = 1e-4

/** The layers of a small ResNet: a stage has half the rows and columns of the one before, and twice its channels. */
const CONVOLUTIONS = [
  { batch: 32, channels: 16, size: 28 },
  { batch: 32, channels: 32, size: 14 },
  { batch: 32, channels: 64, size: 8 },
]

/** Returns the workloads to compare. */
export function standardWorkloads(software: boolean): Workload[] {
  const square = (size: number): Workload => ({ kind: 'matmul', form: 'NN', batch: 1, m: size, k: size, n: size })
  // The products of a Linear of a ViT over 64 images of 197 tokens: y = x W^T, then dx = dy W and dW = dy^T x.
  const linear = (inputs: number, outputs: number): Workload[] => [
    { kind: 'matmul', form: 'NT', batch: 1, m: 12608, k: inputs, n: outputs },
    { kind: 'matmul', form: 'NN', batch: 1, m: 12608, k: outputs, n: inputs },
    { kind: 'matmul', form: 'TN', batch: 1, m: outputs, k: 12608, n: inputs },
  ]
  return [
    ...[256, 512, 1024, 2048].map(square),
    ...linear(192, 576),
    ...linear(192, 768),
    { kind: 'matmul', form: 'NN', batch: 64, m: 197, k: 64, n: 197 },
    { kind: 'softmax', rows: 1024, n: 1024 },
    { kind: 'layerNorm', rows: 1024, n: 512 },
    { kind: 'attention', batch: 4, heads: 4, tokens: 256, width: 64 },
    { kind: 'attention', batch: 64, heads: 3, tokens: 197, width: 64 },
    { kind: 'attention', batch: 4, heads: 4, tokens: 256, width: 64, causal: true },
    { kind: 'maskedSoftmax', batch: 4, heads: 4, tokens: 256 },
    { kind: 'einsum', batch: 4, heads: 4, tokens: 256, width: 64 },
    { kind: 'topk', rows: 1024, n: 1024, k: 10 },
    { kind: 'topk', rows: 1, n: 2 ** 20, k: 10 },
    { kind: 'sort', rows: 1024, n: 1024 },
    { kind: 'sort', rows: 1, n: 2 ** 20 },
    { kind: 'scatterAdd', rows: 10_000, width: 1, count: 200_000 },
    { kind: 'scatterAdd', rows: 10_000, width: 64, count: 20_000 },
    ...CONVOLUTIONS.map((sizes): Workload => ({ kind: 'conv2d', ...sizes })),
    { kind: 'add', n: 1_000_000 },
    { kind: 'addChain', size: 32, ops: 1000 },
    { kind: 'mulChain', size: 32, ops: 300 },
    { kind: 'mlpStep', batch: 256, inputs: 784, hidden: 512, classes: 10 },
    ...CONVOLUTIONS.map((sizes): Workload => ({ kind: 'convStep', ...sizes })),
    { kind: 'attentionStep', batch: 4, heads: 4, tokens: 256, width: 64 },
    { kind: 'blockStep', batch: 32, tokens: 65, dim: 128, heads: 4, mlp: 512 },
    { kind: 'modelStep', batch: software ? 2 : 64, config: { ...DEFAULT_CONFIGS.paraformer, dropout: 0 } },
  ]
}

/** Returns the sizes of a workload as tables show them. */
export function shapeOf(w: Workload): string {
  switch (w.kind) {
    case 'matmul':
      return `${w.batch > 1 ? `${w.batch} x ` : ''}${w.m}x${w.k}x${w.n} ${w.form}`
    case 'softmax':
    case 'layerNorm':
    case 'sort':
      return `[${w.rows}, ${w.n}]`
    case 'topk':
      return `${w.k} of [${w.rows}, ${w.n}]`
    case 'scatterAdd':
      return `[${w.count}, ${w.width}] to ${w.rows}`
    case 'attention':
      return `${sizesOfAttention(w)}${w.causal ? ' causal' : ''}`
    case 'attentionStep':
      return `${sizesOfAttention(w)} causal`
    case 'einsum':
      return sizesOfAttention(w)
    case 'maskedSoftmax':
      return `B${w.batch} H${w.heads} T${w.tokens}`
    case 'conv2d':
    case 'convStep':
      return `B${w.batch} C${w.channels} ${w.size}x${w.size}`
    case 'add':
      return `[${w.n}]`
    case 'addChain':
      return `${w.ops} x [${w.size}, ${w.size}]`
    case 'mulChain':
      return `${w.ops} x [${w.size}, ${w.size}] and gradient`
    case 'mlpStep':
      return `B${w.batch} ${w.inputs}-${w.hidden}-${w.classes}`
    case 'blockStep':
      return `B${w.batch} T${w.tokens} D${w.dim} h${w.heads} mlp${w.mlp}`
    case 'modelStep': {
      const { branches, branchDepth, dim, imageSize, patchSize } = w.config
      return `B${w.batch} m${branches} depth ${branchDepth} D${dim} ${imageSize}/${patchSize}`
    }
  }
}

function sizesOfAttention({ batch, heads, tokens, width }: WorkloadOf<'attention' | 'attentionStep' | 'einsum'>): string {
  return `B${batch} H${heads} T${tokens} D${width}`
}

/**
 * Counts the operations, where a multiply-add counts as two and only the matrix products of steps count, and the least bytes to
 * move.
 */
export function costOf(w: Workload): { flops: number; bytes: number } {
  switch (w.kind) {
    case 'matmul':
      return { flops: 2 * w.batch * w.m * w.k * w.n, bytes: 4 * w.batch * (w.m * w.k + w.k * w.n + w.m * w.n) }
    case 'softmax':
      return { flops: 5 * w.rows * w.n, bytes: 8 * w.rows * w.n }
    case 'layerNorm':
      return { flops: 8 * w.rows * w.n, bytes: 8 * w.rows * w.n }
    case 'attention': {
      const rows = w.batch * w.heads * w.tokens
      return { flops: 4 * rows * (w.causal ? (w.tokens + 1) / 2 : w.tokens) * w.width, bytes: 16 * rows * w.width }
    }
    case 'maskedSoftmax': {
      const scores = w.batch * w.heads * w.tokens ** 2
      return { flops: 6 * scores, bytes: 8 * scores }
    }
    case 'einsum': {
      const rows = w.batch * w.heads * w.tokens
      return { flops: 2 * rows * w.tokens * w.width, bytes: 4 * rows * (2 * w.width + w.tokens) }
    }
    // One look at each element.
    case 'topk':
      return { flops: w.rows * w.n, bytes: 4 * w.rows * w.n }
    case 'sort':
      return { flops: w.rows * w.n * Math.ceil(Math.log2(w.n)), bytes: 8 * w.rows * w.n }
    case 'scatterAdd':
      return { flops: w.count * w.width, bytes: 4 * (w.count * (w.width + 1) + 2 * w.rows * w.width) }
    case 'conv2d':
      return { flops: convolutionFlops(w), bytes: 4 * (2 * w.batch * w.channels * w.size ** 2 + 9 * w.channels ** 2) }
    // Two results, the gradients of two weights and of one input.
    case 'convStep':
      return { flops: 5 * convolutionFlops(w), bytes: 0 }
    case 'add':
      return { flops: w.n, bytes: 12 * w.n }
    case 'addChain':
      return { flops: w.ops * w.size ** 2, bytes: 12 * w.ops * w.size ** 2 }
    case 'mulChain':
      return { flops: (2 * w.ops + 1) * w.size ** 2, bytes: 12 * (2 * w.ops + 1) * w.size ** 2 }
    // Two products forward and four backward; computing the scores again is not counted.
    case 'attentionStep': {
      const pairs = (w.batch * w.heads * w.tokens * (w.tokens + 1)) / 2
      return { flops: 6 * 2 * pairs * w.width, bytes: 0 }
    }
    case 'mlpStep': {
      const { batch, inputs, hidden, classes } = w
      const first = 2 * batch * inputs * hidden
      return { flops: 2 * first + 3 * 2 * batch * hidden * classes, bytes: 0 }
    }
    case 'blockStep': {
      const { batch, tokens, dim, mlp } = w
      const rows = batch * tokens
      return { flops: 3 * (8 * rows * dim * dim + 4 * rows * tokens * dim + 4 * rows * dim * mlp), bytes: 0 }
    }
    case 'modelStep':
      return { flops: w.batch * countFlops(w.config).training, bytes: 0 }
  }
}

function convolutionFlops({ batch, channels, size }: WorkloadOf<'conv2d' | 'convStep'>): number {
  return 2 * 9 * batch * (channels * size) ** 2
}
