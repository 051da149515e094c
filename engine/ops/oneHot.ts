import * as kernels from '../../kernels/indexing/index.ts'
import { defineOp, noGrad } from '../autograd/tape.ts'
import { checkWhole } from '../base/checks.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { checkDtype, type Dtype, scalarOf } from '../layout/dtype.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'

export interface OneHotOptions {
  /** The element type; default 'int32'. */
  dtype?: Dtype
}

const OPTIONS: OptionNames<OneHotOptions> = { dtype: true }

const op = defineOp<[Tensor], { classes: number; dtype: Dtype }>({
  name: 'oneHot',
  forward(_ctx, [labels], { classes, dtype }) {
    const out = empty([...labels.shape, classes], dtype, labels.device)
    const problem = { count: labels.size, classes, dtype: dtype === 'int32' ? 'i32' : scalarOf(dtype) } as const
    run(kernels.oneHot, problem, [labels.contiguous(), out])
    return out
  },
})

/**
 * Makes a row of zeros with a 1 at its class for each label. A label outside gives zeros.
 * @param labels int32 [...]
 * @param classes the length of the rows
 * @returns [..., classes]
 * @throws ShapeError for labels that are not int32; ArgumentError unless `classes` is a whole number of at least 1, and for unknown options
 */
export function oneHot(labels: Tensor, classes: number, options?: OneHotOptions): Tensor {
  checkTensor('oneHot', labels, 'labels')
  checkWhole('oneHot', classes, 'classes')
  checkOptions('oneHot', options, OPTIONS)
  const { dtype = 'int32' } = options ?? {}
  checkDtype('oneHot', dtype, labels.device)
  if (labels.dtype !== 'int32') throw mismatch('oneHot', [labels], 'labels int32')
  return noGrad(() => op([labels], { classes, dtype }))
}
