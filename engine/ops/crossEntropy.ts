import * as kernels from '../../kernels/crossEntropy/index.ts'
import { rowMajor, sum } from '../../kernels/reduce/index.ts'
import { toFloat32 } from '../autograd/autocast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { kindOf } from '../base/kind.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { format } from '../layout/shape.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'

export interface CrossEntropyOptions {
  /** 'mean' (the default) averages the losses of all rows; 'none' returns them. */
  reduction?: 'mean' | 'none'
}

const OPTIONS: OptionNames<CrossEntropyOptions> = { reduction: true }

const op = defineOp<[logits: Tensor, labels: Tensor], { reduction: 'mean' | 'none' }>({
  name: 'crossEntropy',
  forward(ctx, inputs, { reduction }) {
    const [logits, labels] = inputs.map((t) => t.contiguous()) as [Tensor, Tensor]
    const losses = empty(labels.shape, 'float32', logits.device)
    const statistics = empty([...labels.shape, 2], 'float32', logits.device) // [..., 2]: the row's maximum and sum of exponentials
    run(kernels.crossEntropy, problemOf(logits, labels), [logits, labels, losses, statistics])
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
    run(kernels.crossEntropyBackward, { ...problem, ...each }, [logits, labels, statistics, grad.contiguous(), dlogits])
    return [dlogits, undefined]
  },
})

function problemOf(logits: Tensor, labels: Tensor) {
  return { rows: labels.size, classes: logits.shape.at(-1)!, nan: kernels.NAN_BITS } as const
}

/**
 * The cross-entropy of softmax(logits) with class labels: logsumexp(logits) - logit of the label. A row with NaN or Infinity, or of
 * -Infinity alone, has loss and gradient NaN; a label whose logit is -Infinity has loss Infinity.
 * @param logits float32 [..., C]; inside `autocast` float16 too
 * @param labels int32 [...], each in [0, C); a label outside makes the row's loss and gradient NaN
 * @returns float32: the mean loss [], or with `reduction: 'none'` the loss of each row [...]
 * @throws ShapeError for other dtypes, shapes or reductions; ArgumentError for an unknown option
 */
export function crossEntropy(logits: Tensor, labels: Tensor, options?: CrossEntropyOptions, ...extra: []): Tensor {
  checkTensor('crossEntropy', logits, 'logits')
  checkTensor('crossEntropy', labels, 'labels')
  checkOptions('crossEntropy', options, OPTIONS)
  checkNoMore('crossEntropy', extra)
  const input = toFloat32(logits)
  const fits = input.ndim >= 1 && format(input.shape.slice(0, -1)) === format(labels.shape)
  if (input.dtype !== 'float32' || labels.dtype !== 'int32' || !fits) {
    throw mismatch('crossEntropy', [input, labels], 'logits float32 [..., C] and labels int32 [...]')
  }
  const reduction = options?.reduction ?? 'mean'
  if (reduction !== 'mean' && reduction !== 'none') {
    throw new ShapeError(`crossEntropy: got reduction ${kindOf(reduction)}, takes 'mean' or 'none'`)
  }
  return op([input, labels], { reduction })
}
