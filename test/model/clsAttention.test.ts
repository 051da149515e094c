import { equal, ok, throws } from 'uvu/assert'
import { requestDevice, ShapeError, scope, type Tensor, tensor } from '../../engine/index.ts'
import { clsAttention, Ensemble, ParaFormer, ViT } from '../../model/index.ts'
import { assertClose } from '../harness/errors.ts'
import { normal, testRandom } from '../harness/kernel.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('attention of the CLS token')
await requestDevice()

const SHAPE = { imageSize: 12, patchSize: 4, channels: 2, dim: 20, heads: 2, dimHead: 8, mlpDim: 24, classes: 5, dropout: 0.5 }
const [B, H, N, Dh] = [3, SHAPE.heads, 10, SHAPE.dimHead]
const random = testRandom(5)
const images = tensor(
  Float32Array.from({ length: B * 2 * 12 * 12 }, () => normal(random)),
  { shape: [B, 2, 12, 12] },
)

for (const [pool, qkvBias] of [
  ['cls', false],
  ['mean', false],
  ['cls', true],
  ['mean', true],
] as const) {
  test(`pool ${pool}${qkvBias ? ' with biases' : ''}: its weights times the values are what the layer gives its CLS token, dropout off`, async () => {
    const model = new ParaFormer({ ...SHAPE, branches: 3, branchDepth: 2, pool, qkvBias })
    model.train()
    const weights = clsAttention(model, images)
    ok(model.training)
    equal(weights.shape, [3, B, H, N])
    const found = (await weights.data()) as Float32Array
    model.eval()
    for (let branch = 0; branch < 3; branch++) {
      const taps = new Map<string, Promise<ArrayLike<number>>>()
      scope(() => model.forward(images, { taps: (name, t: Tensor) => taps.set(name, t.data()) }))
      const at = `branches.${branch}.layers.1`
      const u = await taps.get(`${at}.norm1`)! // [B, N, D]
      const given = await taps.get(`${at}.attention.values`)! // [B, 1 or N, H * Dh]
      const rows = given.length / (B * H * Dh)
      const weight = await model.branches[branch]!.layers[1]!.attention.qkv.weight.data() // [3 * H * Dh, D]
      const bias = await model.branches[branch]!.layers[1]!.attention.qkv.bias?.data() // [3 * H * Dh]
      const value = (b: number, n: number, h: number, j: number) => {
        let sum = bias?.[(2 * H + h) * Dh + j] ?? 0
        for (let d = 0; d < SHAPE.dim; d++)
          sum += u[(b * N + n) * SHAPE.dim + d]! * weight[((2 * H + h) * Dh + j) * SHAPE.dim + d]!
        return sum
      }
      const [actual, expected]: [number[], number[]] = [[], []]
      for (let b = 0; b < B; b++) {
        for (let h = 0; h < H; h++) {
          const row = found.slice(((branch * B + b) * H + h) * N, ((branch * B + b) * H + h + 1) * N)
          assertClose([row.reduce((sum, w) => sum + w, 0)], [1], 1e-6, 'sum')
          for (let j = 0; j < Dh; j++) {
            actual.push(row.reduce((sum, w, n) => sum + w * value(b, n, h, j), 0))
            expected.push(given[b * rows * H * Dh + h * Dh + j]!)
          }
        }
      }
      assertClose(actual, expected, 1e-5, `branch ${branch}`)
    }
    for (const t of [weights, model]) t.dispose()
  })
}

test('a ViT has one branch, an ensemble one for each member', async () => {
  const vit = new ViT({ ...SHAPE, depth: 2 })
  equal(clsAttention(vit, images).shape, [1, B, H, N])
  const ensemble = new Ensemble({ ...SHAPE, depth: 1, members: 2 })
  const weights = clsAttention(ensemble, images)
  equal(weights.shape, [2, B, H, N])
  const second = clsAttention(ensemble.members[1]!, images)
  equal(Array.from((await weights.data()).slice(B * H * N)), Array.from(await second.data()))
})

test('wrong arguments are refused', () => {
  throws(() => clsAttention({} as never, images), /clsAttention.*a ParaFormer, ViT or Ensemble/)
  throws(
    () => clsAttention(new ViT(SHAPE), tensor([1])),
    (error: unknown) => error instanceof ShapeError,
  )
})

run()
