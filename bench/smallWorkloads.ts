import { DEFAULT_CONFIGS } from '../model/index.ts'
import type { Workload } from './workloads.ts'

const config = {
  ...DEFAULT_CONFIGS.paraformer,
  imageSize: 12,
  patchSize: 4,
  dim: 20,
  heads: 2,
  dimHead: 6,
  mlpDim: 28,
  branches: 3,
  dropout: 0,
}

/** Workloads of every kind at sizes that take no time and that no tile divides. */
export const SMALL_WORKLOADS: readonly Workload[] = [
  ...(['NN', 'NT', 'TN'] as const).flatMap((form): Workload[] => [
    { kind: 'matmul', form, batch: 1, m: 33, k: 17, n: 40 },
    { kind: 'matmul', form, batch: 3, m: 9, k: 20, n: 12 },
  ]),
  { kind: 'softmax', rows: 7, n: 33 },
  { kind: 'layerNorm', rows: 9, n: 31 },
  { kind: 'attention', batch: 2, heads: 3, tokens: 17, width: 16 },
  { kind: 'attention', batch: 2, heads: 3, tokens: 17, width: 16, causal: true },
  { kind: 'attentionStep', batch: 2, heads: 3, tokens: 17, width: 16 },
  { kind: 'maskedSoftmax', batch: 2, heads: 3, tokens: 17 },
  { kind: 'einsum', batch: 2, heads: 3, tokens: 17, width: 16 },
  { kind: 'topk', rows: 7, n: 33, k: 5 },
  { kind: 'sort', rows: 7, n: 33 },
  { kind: 'scatterAdd', rows: 9, width: 1, count: 40 },
  { kind: 'scatterAdd', rows: 9, width: 12, count: 40 },
  { kind: 'conv2d', batch: 2, channels: 5, size: 7 },
  { kind: 'convStep', batch: 2, channels: 5, size: 7 },
  { kind: 'add', n: 1025 },
  { kind: 'addChain', size: 5, ops: 7 },
  { kind: 'mulChain', size: 5, ops: 7 },
  { kind: 'mlpStep', batch: 12, inputs: 30, hidden: 18, classes: 5 },
  { kind: 'blockStep', batch: 3, tokens: 9, dim: 24, heads: 3, mlp: 40 },
  { kind: 'modelStep', batch: 2, config },
]
