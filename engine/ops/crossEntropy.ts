import { crossEntropyBackward, crossEntropy as crossEntropyKernel, NAN_BITS } from '../../kernels/crossEntropy/index.ts'
import { rowMajor, sum } from '../../kernels/reduce/index.ts'
import { toFloat32 } from '../autograd/autocast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { kindOf } from '../base/kind.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { format } from '../layout/shape.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'

export interface CrossEntropyOptions {
  /** The mean over all rows (default), or each row's loss. */
  reduction?: 'mean' | 'none'
}

const OPTIONS: OptionNames<CrossEntropyOptions> = { reduction: true }

const op = defineOp<[logits: Tensor, labels: Tensor], { reduction: 'mean' | 'none' }>({
  name: 'crossEntropy',
  forward(ctx, [givenLogits, givenLabels], { reduction }) {
    const logits = givenLogits.contiguous()
    const labels = givenLabels.contiguous()
    const losses = empty(labels.shape, 'float32', logits.device)
    const statistics = empty([...labels.shape, 2], 'float32', logits.device)
    run(crossEntropyKernel, problemOf(logits, labels), [logits, labels, losses, statistics])
    ctx.saveForBackward(logits, labels, statistics)
    if (reduction === 'none') return losses
    const loss = empty([], 'float32', logits.device)
    run(sum, { ...rowMajor(1, labels.size, 1), scale: 1 / labels.size }, [losses, loss])
    return loss
  },
  backward(ctx, grad, { reduction }) {
    const [logits, labels, statistics] = ctx.saved as [Tensor, Tensor, Tensor]
    const problem = problemOf(logits, labels)
    const each = reduction === 'mean' ? { gradientStride: 0, scale: 1 / problem.rows } : { gradientStride: 1, scale: 1 }
    const dlogits = ctx.gradOut(0)
    run(crossEntropyBackward, { ...problem, ...each }, [logits, labels, statistics, grad.contiguous(), dlogits])
    return [dlogits, undefined]
  },
})

function problemOf(logits: Tensor, labels: Tensor) {
  return { rows: labels.size, classes: logits.shape.at(-1)!, nan: NAN_BITS } as const
}

/**
 * Cross-entropy of softmax(logits) with class labels: logsumexp(logits) - logit of the label. A row with NaN or Infinity, or of -Infinity
 * alone, has the loss and gradient NaN; a label whose logit is -Infinity the loss Infinity.
 * @param given float32 [..., C]; inside `autocast` float16 too
 * @param labels int32 [...], each in [0, C); another value makes that row's loss and gradient NaN
 * @returns the mean over all rows, [], or with `reduction: 'none'` each row's loss, [...]
 * @throws ShapeError for other dtypes, shapes or reductions; ArgumentError for an unknown option
 */
export function crossEntropy(given: Tensor, labels: Tensor, options?: CrossEntropyOptions, ...extra: []): Tensor {
  checkTensor('crossEntropy', given, 'logits')
  checkTensor('crossEntropy', labels, 'labels')
  checkOptions('crossEntropy', options, OPTIONS)
  checkNoMore('crossEntropy', extra)
  const logits = toFloat32(given)
  const matching = logits.ndim >= 1 && format(logits.shape.slice(0, -1)) === format(labels.shape)
  if (logits.dtype !== 'float32' || labels.dtype !== 'int32' || !matching) {
    const got = [logits, labels].map((t) => `${t.dtype} ${format(t.shape)}`).join(' and ')
    throw new ShapeError(`crossEntropy: got ${got}; takes logits float32 [..., C] and labels int32 [...]`)
  }
  const reduction = options?.reduction ?? 'mean'
  if (reduction !== 'mean' && reduction !== 'none') {
    throw new ShapeError(`crossEntropy: got reduction ${kindOf(reduction)}, takes 'mean' or 'none'`)
  }
  return op([logits, labels], { reduction })
}
