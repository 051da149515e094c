// Second derivatives of the ops that reduce, rearrange, sort and take by index.
import * as ops from '../../engine/index.ts'
import { grad, requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import { assertClose } from '../harness/errors.ts'
import { checkSecondDerivatives, type Sample, sample } from '../harness/secondDerivatives.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('second derivatives of moving ops')
const index = (...values: number[]) => tensor(Int32Array.from(values))
const rows = index(2, 0, 2, 1).reshape([4, 1]).broadcastTo([4, 2])

const SMOOTH: Record<string, [op: (...inputs: Tensor[]) => Tensor, inputs: Sample[]]> = {
  slice: [(x) => x.exp().slice([[0, 3, 2], [1]]), [sample([4, 3], 1)]],
  'slice backwards': [(x) => x.exp().slice([[-1, 0, -1]]), [sample([4], 1)]],
  flip: [(x) => x.flip(0).mul(x).mul(x), [sample([4, 3], 1)]],
  roll: [(x) => x.roll(1, 0).mul(x).mul(x), [sample([4, 3], 1)]],
  tile: [(x) => x.exp().tile([2, 3]), [sample([2, 2], 1)]],
  concat: [(x, y) => ops.concat([x.exp(), y.mul(y)], 1), [sample([2, 3], 1), sample([2, 2], 2)]],
  stack: [(x, y) => ops.stack([x.exp(), y.mul(x)], 1), [sample([2, 3], 1), sample([2, 3], 2)]],
  'einsum, a diagonal': [(x, y) => ops.einsum('ii,ij->j', x, y).exp(), [sample([3, 3], 1), sample([3, 2], 2)]],
  cumsum: [(x) => x.exp().cumsum(0), [sample([4, 2], 1)]],
  triu: [(x) => x.exp().triu(), [sample([3, 3], 1)]],
  where: [(x) => ops.where(index(0, 1, 1), x.exp(), x.mul(x)), [sample([2, 3], 1)]],
  maskedFill: [(x) => x.exp().maskedFill(index(0, 1, 1), 3), [sample([2, 3], 1)]],
  embedding: [(w) => ops.embedding(w.exp(), index(1, 0, 1)), [sample([2, 3], 1)]],
  gather: [(x) => x.exp().gather(0, rows), [sample([3, 2], 1)]],
  indexSelect: [(x) => x.exp().indexSelect(1, index(2, 2, 0)), [sample([2, 3], 1)]],
  scatter: [(x, y) => x.exp().scatter(0, rows, y.mul(y)).exp(), [sample([3, 2], 1), sample([4, 2], 2)]],
  scatterAdd: [(x, y) => x.scatterAdd(0, rows, y.mul(y)).mul(0.1).exp(), [sample([3, 2], 1), sample([4, 2], 2)]],
  max: [(x) => x.exp().max(1), [sample([3, 4], 1)]],
  'min over two dims': [(x) => x.exp().min([0, 2]), [sample([2, 3, 4], 1)]],
  sort: [(x) => x.exp().sort(0)[0], [sample([5, 2], 1)]],
  topk: [(x) => x.exp().topk(2)[0], [sample([2, 5], 1)]],
  norm: [(x) => x.norm(1), [sample([2, 5], 1)]],
  variance: [(x) => x.exp().variance([0, 2]), [sample([2, 3, 2], 1)]],
  std: [(x) => x.std(1, { keepdim: true }), [sample([2, 5], 1)]],
  logsumexp: [(x) => x.logsumexp(0), [sample([4, 3], 1)]],
}

for (const [name, [op, inputs]] of Object.entries(SMOOTH)) {
  test(`second derivatives of ${name}`, async () => checkSecondDerivatives(name, op, inputs))
}

test('second derivatives of norm and std at 0 are finite', async () => {
  const x = tensor([0, 0, 0], { requiresGrad: true })
  for (const op of [ops.norm, ops.std]) {
    const first = grad(op(x), x, { createGraph: true })
    assertClose(await first.data(), [0, 0, 0], 0, 'first')
    if (!(await grad(first.sum(), x).data()).every(Number.isFinite)) throw new Error('not finite')
  }
})

test('ends', () => device.destroy())
run()
