import { equal, is, throws } from 'uvu/assert'
import { crossEntropy, requestDevice, scope, tensor, zeros } from '../../engine/index.ts'
import {
  branchShape,
  checkConfig,
  countFlops,
  countParameters,
  createModel,
  Ensemble,
  type ModelConfig,
} from '../../model/index.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('model counts')
const device = await requestDevice()

const SMALL = { imageSize: 22, patchSize: 11, dim: 37, heads: 5, dimHead: 7, mlpDim: 53, classes: 7 }
const CONFIGS: ModelConfig[] = [
  checkConfig({ ...SMALL, branches: 3, branchDepth: 2 }),
  checkConfig({ ...SMALL, branches: 1, branchDepth: 1, channels: 1, pool: 'mean', residual: 'preNorm' }),
  checkConfig({ ...SMALL, architecture: 'vit', depth: 3 }),
  checkConfig({ ...SMALL, architecture: 'ensemble', members: 3, depth: 2 }),
]

test('the default model has the parameters the paper’s code has', () => {
  const count = countParameters(checkConfig({}))
  is(count.layer, 444_288)
  is(count.stem + count.head, 187_978)
  is(count.total, 7_296_586)
  is(countParameters(checkConfig({ architecture: 'vit' })).total, count.total)
  is(countParameters(checkConfig({}), { branches: 3 }).total, 187_978 + 3 * 2 * 444_288)
})

test('counts are those of the modules', () => {
  for (const config of CONFIGS) {
    const model = createModel(config)
    const size = (named: [string, { size: number }][]) => named.reduce((total, [, { size }]) => total + size, 0)
    const count = countParameters(config)
    is(count.total, size(model.namedParameters()))
    const part = model instanceof Ensemble ? model.members[1]! : model
    is(count.head, size(part.head.namedParameters()))
    is(count.branch, size(part.branches[0]!.namedParameters()))
    is(count.layer, size(part.branches[0]!.layers[0]!.namedParameters()))
    is(count.stem, size(part.namedParameters().filter(([name]) => /^(embed|clsToken|posEmbedding)/.test(name))))

    // Every weight matrix multiplies each of its input rows once; attention has two more products.
    const products = (named: [string, { size: number; ndim: number }][], rows: number) =>
      2 * rows * size(named.filter(([, { ndim }]) => ndim === 2))
    const N = (config.imageSize / config.patchSize) ** 2 + 1
    const flops = countFlops(config)
    const layer = part.branches[0]!.layers[0]!.namedParameters()
    is(flops.layer, products(layer, N) + 2 * (2 * N * N * config.heads * config.dimHead))
    is(flops.stem, products(part.embed.namedParameters(), N - 1))
    is(flops.head, products(part.head.namedParameters(), 1))
    model.dispose()
  }
})

test('what skipping saves', () => {
  const config = checkConfig({ ...SMALL, branches: 3, branchDepth: 2 })
  const [skipped, whole] = [countFlops(config), countFlops(config, { skipDeadTokens: false })]
  const [N, D, I, M] = [5, 37, 35, 53]
  is(whole.layer, whole.lastLayer)
  // Queries, scores, weighted values, output projection and MLP have N - 1 tokens less.
  is(whole.lastLayer - skipped.lastLayer, (N - 1) * (2 * D * I + 4 * N * I + 2 * I * D + 4 * D * M))
  is(skipped.forward, skipped.stem + 3 * (skipped.layer + skipped.lastLayer) + skipped.head)
  is(skipped.training, 3 * skipped.forward - skipped.stem)
  const mean = checkConfig({ ...SMALL, branches: 3, branchDepth: 2, pool: 'mean' })
  equal(countFlops(mean), countFlops(mean, { skipDeadTokens: false }))
})

/** Operations of the matrix products and attention kernels that `fn` runs, by the kernels' own cost models. */
function dispatchedFlops(fn: () => void): number {
  const dispatch = device.dispatch
  let flops = 0
  device.dispatch = (spec, problem, ...rest) => {
    if (/^(matmul$|attention)/.test(spec.name)) flops += spec.flops(problem)
    dispatch.call(device, spec, problem, ...rest)
  }
  try {
    fn()
  } finally {
    device.dispatch = dispatch
  }
  return flops
}

test('counts are what the kernels do', () => {
  const B = 2
  for (const config of CONFIGS) {
    const model = createModel(config)
    const images = zeros([B, config.channels, config.imageSize, config.imageSize])
    const labels = tensor(new Int32Array(B))
    for (const skipDeadTokens of [true, false]) {
      const count = countFlops(config, { skipDeadTokens })
      const forward = dispatchedFlops(() => scope(() => void model.forward(images, { skipDeadTokens })))
      is(forward, B * count.forward)
      const training = dispatchedFlops(() =>
        scope(() => crossEntropy(model.forward(images, { skipDeadTokens }), labels).backward()),
      )
      // The two kernels of attention's backward pass recompute the scores and their gradient: 7 products, of which 4 are counted.
      const { branches, depth } = branchShape(config)
      const [N, inner] = [(config.imageSize / config.patchSize) ** 2 + 1, config.heads * config.dimHead]
      const rows = (depth - 1) * N + (skipDeadTokens && config.pool === 'cls' ? 1 : N)
      is(training, B * (count.training + 3 * branches * (2 * rows * N * inner)))
    }
    model.dispose()
  }
})

test('a prefix costs its branches', () => {
  const config = checkConfig({ ...SMALL, branches: 3, branchDepth: 2 })
  const flops = [1, 2, 3].map((branches) => countFlops(config, { branches }).forward)
  is(flops[1]! - flops[0]!, countFlops(config).branch)
  is(flops[2], countFlops(config).forward)
  const ensemble = checkConfig({ ...SMALL, architecture: 'ensemble', members: 3, depth: 2 })
  const vit = checkConfig({ ...SMALL, architecture: 'vit', depth: 2 })
  is(countFlops(ensemble, { branches: 2 }).training, 2 * countFlops(vit).training)
  is(countParameters(ensemble, { branches: 2 }).total, 2 * countParameters(vit).total)
  throws(() => countFlops(config, { branches: 4 }), /branches 4/)
  throws(() => countParameters(config, { branches: 0 }), /branches 0/)
})

test('ends', () => device.destroy())

run()
