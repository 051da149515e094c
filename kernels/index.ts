import { entries as activation } from './activation/index.ts'
import { entries as adamW } from './adamW/index.ts'
import { entries as algebraic } from './algebraic/index.ts'
import { entries as attention } from './attention/index.ts'
import { entries as augment } from './augment/index.ts'
import { entries as compare } from './compare/index.ts'
import { entries as conv2d } from './conv2d/index.ts'
import { entries as copy } from './copy/index.ts'
import { entries as crossEntropy } from './crossEntropy/index.ts'
import { entries as cumsum } from './cumsum/index.ts'
import { entries as elementwise } from './elementwise/index.ts'
import { entries as ema } from './ema/index.ts'
import { entries as embedSequence } from './embedSequence/index.ts'
import { entries as exponential } from './exponential/index.ts'
import { entries as fold } from './fold/index.ts'
import { entries as gather } from './gather/index.ts'
import { entries as indexing } from './indexing/index.ts'
import { entries as layerNorm } from './layerNorm/index.ts'
import { entries as lerp } from './lerp/index.ts'
import { entries as lion } from './lion/index.ts'
import { entries as losses } from './losses/index.ts'
import { entries as matmul } from './matmul/index.ts'
import { entries as muon } from './muon/index.ts'
import { entries as order } from './order/index.ts'
import { entries as pairwise } from './pairwise/index.ts'
import { entries as planeNorm } from './planeNorm/index.ts'
import { entries as pool2d } from './pool2d/index.ts'
import { entries as random } from './random/index.ts'
import { entries as reduce } from './reduce/index.ts'
import { entries as rmsNorm } from './rmsNorm/index.ts'
import { entries as scan } from './scan/index.ts'
import { entries as sgd } from './sgd/index.ts'
import { entries as softmax } from './softmax/index.ts'
import type { KernelEntry } from './spec.ts'
import { entries as trigonometric } from './trigonometric/index.ts'

/** Every kernel with its reference and its cases, by its folder. */
export const kernelFamilies = {
  augment,
  trigonometric,
  pairwise,
  exponential,
  compare,
  algebraic,
  activation,
  adamW,
  attention,
  conv2d,
  copy,
  crossEntropy,
  cumsum,
  elementwise,
  embedSequence,
  ema,
  fold,
  gather,
  indexing,
  layerNorm,
  lion,
  losses,
  lerp,
  matmul,
  muon,
  planeNorm,
  pool2d,
  random,
  reduce,
  rmsNorm,
  sgd,
  order,
  scan,
  softmax,
} as const satisfies Record<string, readonly KernelEntry[]>
