import * as kernels from '../../kernels/embedSequence/index.ts'
import { toFloat32 } from '../autograd/autocast.ts'
import { defineOp } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { format } from '../layout/shape.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { gradientPair } from './gradientPair.ts'
import { sumTo } from './shape.ts'
import { slice } from './slice.ts'

const op = defineOp<[tokens: Tensor, first: Tensor, positions: Tensor]>({
  name: 'embedSequence',
  forward(_ctx, inputs) {
    const [tokens, first, positions] = inputs.map((t) => t.contiguous()) as [Tensor, Tensor, Tensor]
    const [images, T, D] = tokens.shape as [number, number, number]
    const out = empty([images, T + 1, D], 'float32', tokens.device)
    const each = kernels.imagesEach(tokens.device.capabilities.software, images)
    run(kernels.embedSequence, { images, T, D, each }, [tokens, first, positions, out])
    return out
  },
  backward(ctx, grad) {
    const [images, rows, D] = grad.shape as [number, number, number]
    const { first, second, out, firstOffset, toSecond } = gradientPair(ctx, 1, 2)
    const target = ctx.gradOut(0)
    // A kernel cannot bind one buffer twice for writing, and the tokens may have their slot in the arena of the two parameters.
    const dtokens = target.storage === out.storage ? empty(target.shape, 'float32', target.device) : target
    const problem = { images, T: rows - 1, D, firstOffset, toPositions: toSecond }
    run(kernels.embedSequenceBackward, problem, [grad.contiguous(), dtokens, out])
    return [dtokens, first, second].map((t, i) => (ctx.needs[i] ? t : undefined))
  },
  differentiableBackward(ctx, grad) {
    const [, rows, D] = grad.shape as [number, number, number]
    const gradients = [
      () => slice(grad, [[], [1, rows]]),
      () => sumTo(slice(grad, [[], [0, 1]]), [1, 1, D]),
      () => sumTo(grad, [1, rows, D]),
    ]
    return gradients.map((make, i) => (ctx.needs[i] ? make() : undefined))
  },
})

/**
 * Makes the sequences that a Transformer reads: a row that all images share (ViT's class token, arXiv 2010.11929) before the tokens of each
 * image, plus an embedding of each position; `concat([first, tokens], 1).add(positions)` in one dispatch.
 * @param tokens float32 [B, T, D]; inside `autocast` float16 too
 * @param first float32 [1, 1, D]
 * @param positions float32 [1, T + 1, D]
 * @returns float32 [B, T + 1, D]
 * @throws ShapeError for other dtypes or shapes
 */
export function embedSequence(tokens: Tensor, first: Tensor, positions: Tensor, ...extra: []): Tensor {
  checkTensor('embedSequence', tokens, 'tokens')
  checkTensor('embedSequence', first, 'first')
  checkTensor('embedSequence', positions, 'positions')
  checkNoMore('embedSequence', extra)
  const inputs = [tokens, first, positions].map(toFloat32) as [Tensor, Tensor, Tensor]
  const [, T = 0, D = 0] = inputs[0].shape
  const fits =
    inputs[0].ndim === 3 && format(first.shape) === format([1, 1, D]) && format(positions.shape) === format([1, T + 1, D])
  if (!fits || inputs.some(({ dtype }) => dtype !== 'float32'))
    throw mismatch('embedSequence', inputs, 'float32 [B, T, D], [1, 1, D] and [1, T + 1, D]')
  return op(inputs, undefined)
}
