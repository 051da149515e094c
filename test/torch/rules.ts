import type { Draw, Drawn, Rule } from './draw.ts'

const smooth = [
  'neg',
  'tanh',
  'sigmoid',
  'sin',
  'cos',
  'erf',
  'square',
  'silu',
  'softplus',
  'expm1',
  'exp',
  'exp2',
  'clone',
  'isNaN',
  'isFinite',
]
const ofPositive = ['log', 'sqrt', 'rsqrt', 'reciprocal', 'log2', 'log1p']
const whole = (x: number) => Math.abs(x - Math.round(x))

const unary =
  (rule: (d: Draw) => number | undefined | Promise<number | undefined>): Rule =>
  async (d) => {
    const value = await rule(d)
    return value === undefined ? undefined : [[value]]
  }

/** Reductions over some dims; of elements that differ where the op picks one. */
const reduction =
  (options: { distinct?: boolean; one?: boolean; positive?: boolean } = {}): Rule =>
  async (d) => {
    const value = options.positive ? d.positive(d.float(1)) : d.float(1)
    if (options.distinct && !(await d.distinct(value))) return undefined
    const dim = options.one ? d.dim(value) : d.dims(value)
    return [[value], { dim, keepdim: d.random() < 0.5 }]
  }

const along =
  (distinct = false, positive = false): Rule =>
  async (d) => {
    const value = positive ? d.positive(d.float(1)) : d.float(1)
    return distinct && !(await d.distinct(value)) ? undefined : [[value], { dim: d.dim(value) }]
  }

/** Two values that broadcast; their elements differ where the op compares them. */
const pair =
  (compares = false): Rule =>
  async (d) => {
    const a = d.float()
    const b = d.beside(a)
    if (compares && !(await d.far(d.step('sub', [a, b]), Math.abs))) return undefined
    return [[a, b]]
  }

/** Two truth values. */
const truths: Rule = (d) => {
  const a = d.float()
  return [[d.step('gt', [a, d.leaf([])]), d.step('lt', [a, d.leaf([])])]]
}

/** An index along a dim for each element of a shape. */
const indices = (d: Draw, shape: readonly number[], n: number) => d.leaf(shape, () => d.below(n), 'int32')

/** Images [B, C, H, W] of a value, or of a new leaf. */
function images(d: Draw, channels: number): number {
  return d.leaf([1 + d.below(2), channels, 4 + d.below(2), 4 + d.below(3)])
}

function pooling(d: Draw): Drawn {
  const size = 2 + d.below(2)
  return [[images(d, 1 + d.below(3))], { size, stride: 1 + d.below(2), padding: d.below(2) }]
}

function heads(d: Draw): { inputs: number[]; B: number; H: number; T: number; S: number; args: Record<string, any> } {
  const [B, Hkv, groups, T, S, Dh] = [
    1 + d.below(2),
    1 + d.below(2),
    1 + d.below(2),
    2 + d.below(3),
    2 + d.below(4),
    1 + d.below(4),
  ]
  const inputs = [d.leaf([B, Hkv * groups, T, Dh]), d.leaf([B, Hkv, S, Dh]), d.leaf([B, Hkv, S, Dh])]
  return { inputs, B, H: Hkv * groups, T, S, args: { scale: d.pick([0.3, 1]), causal: false } }
}

export const RULES: Record<string, Rule> = {
  ...Object.fromEntries(smooth.map((name) => [name, unary((d) => d.float())])),
  ...Object.fromEntries(ofPositive.map((name) => [name, unary((d) => d.positive())])),
  ...Object.fromEntries(
    ['abs', 'relu', 'sign', 'logicalNot'].map((name) => [
      name,
      unary(async (d) => {
        const value = d.float()
        return (await d.far(value, Math.abs)) ? value : undefined
      }),
    ]),
  ),
  ...Object.fromEntries(
    ['floor', 'ceil', 'trunc', 'round'].map((name) => [
      name,
      unary(async (d) => {
        const value = d.float()
        return (await d.far(value, name === 'round' ? (x) => whole(x + 0.5) : whole)) ? value : undefined
      }),
    ]),
  ),
  gelu: (d) => [[d.float()], { approximate: d.pick(['none', 'tanh']) }],
  leakyRelu: async (d) => {
    const value = d.float()
    return (await d.far(value, Math.abs)) ? [[value], { slope: 0.1 }] : undefined
  },
  clamp: async (d) => {
    const value = d.float()
    const [min, max] = d.pick([
      [-0.5, 0.75],
      [null, 0.25],
      [-1, null],
    ])
    const limits = [min, max].filter((limit): limit is number => limit !== null)
    return (await d.far(value, (x) => Math.min(...limits.map((limit) => Math.abs(x - limit)))))
      ? [[value], { min, max }]
      : undefined
  },
  scale: (d) => [[d.float()], { by: d.pick([-0.5, 1.5, 2]) }],
  add: pair(),
  sub: pair(),
  mul: pair(),
  atan2: async (d) => {
    const a = d.float()
    const other = d.beside(a)
    return (await d.far(other, Math.abs)) ? [[a, other]] : undefined
  },
  div: (d) => {
    const a = d.float()
    return [[a, d.positive(d.beside(a))]]
  },
  pow: (d) => {
    const a = d.positive()
    return [[a, d.beside(a)]]
  },
  remainder: async (d) => {
    const a = d.float()
    const b = d.positive(d.beside(a))
    return (await d.far(d.step('div', [a, b]), whole)) ? [[a, b]] : undefined
  },
  minimum: pair(true),
  maximum: pair(true),
  lerp: (d) => {
    const a = d.float()
    return [[a, d.beside(a), d.leaf([], () => d.random())]]
  },
  ...Object.fromEntries(['eq', 'ne', 'lt', 'le', 'gt', 'ge'].map((name) => [name, pair(true)])),
  logicalAnd: truths,
  logicalOr: truths,
  where: (d) => {
    const a = d.float()
    const condition = d.leaf(d.shape(a), () => d.below(2), 'int32')
    return [[condition, a, d.beside(a)]]
  },
  cast: (d) => {
    const value = d.int()
    return value === undefined ? undefined : [[value], { dtype: 'float32' }]
  },
  sum: reduction(),
  mean: reduction(),
  max: reduction({ distinct: true }),
  min: reduction({ distinct: true }),
  argmax: reduction({ distinct: true, one: true }),
  argmin: reduction({ distinct: true, one: true }),
  prod: reduction(),
  norm: reduction({ positive: true }),
  logsumexp: reduction(),
  any: reduction(),
  all: reduction(),
  variance: variances,
  std: variances,
  cumsum: along(),
  cumprod: along(),
  cummax: along(true),
  softmax: along(),
  logSoftmax: along(),
  sort: async (d) => {
    const value = d.float(1)
    return (await d.distinct(value)) ? [[value], { dim: d.dim(value), descending: d.random() < 0.5 }] : undefined
  },
  argsort: async (d) => {
    const value = d.float(1)
    return (await d.distinct(value)) ? [[value], { dim: d.dim(value), descending: d.random() < 0.5 }] : undefined
  },
  topk: async (d) => {
    const value = d.float(1)
    const dim = d.dim(value)
    return (await d.distinct(value)) ? [[value], { dim, k: 1 + d.below(d.shape(value)[dim]!) }] : undefined
  },
  gather: (d) => {
    const value = d.float(1)
    const dim = d.dim(value)
    const shape = d.shape(value).with(dim, 1 + d.below(4))
    return [[value, indices(d, shape, d.shape(value)[dim]!)], { dim }]
  },
  indexSelect: (d) => {
    const value = d.float(1)
    const dim = d.dim(value)
    return [[value, indices(d, [1 + d.below(4)], d.shape(value)[dim]!)], { dim }]
  },
  scatterAdd: (d) => {
    const value = d.float(1)
    const dim = d.dim(value)
    const shape = d.shape(value).with(dim, 1 + d.below(4))
    return [[value, indices(d, shape, d.shape(value)[dim]!), d.leaf(shape)], { dim }]
  },
  scatter: (d) => {
    // PyTorch leaves open which of several writers wins, so each index is written once.
    const value = d.float(1)
    const dim = d.dim(value)
    const n = d.shape(value)[dim]!
    const count = 1 + d.below(n)
    const shape = d.shape(value).with(dim, count)
    const stride = shape.slice(dim + 1).reduce((product, size) => product * size, 1)
    const first = d.below(n)
    const index = d.leaf(shape, (i) => (first + (Math.floor(i / stride) % count)) % n, 'int32')
    return [[value, index, d.leaf(shape)], { dim }]
  },
  maskedFill: (d) => {
    const value = d.float()
    return [[value, d.leaf(d.shape(value), () => d.below(2), 'int32')], { value: 0.5 }]
  },
  triu: (d) => [[d.float(2)], { k: d.below(4) - 2 }],
  tril: (d) => [[d.float(2)], { k: d.below(4) - 2 }],
  oneHot: (d) => [[indices(d, [1 + d.below(4)], 4)], { classes: 4 }],
  embedding: (d) => [[d.leaf([4, 3]), indices(d, [2, 1 + d.below(3)], 4)]],
  reshape: (d) => {
    const value = d.float(1)
    const size = d.shape(value).reduce((product, n) => product * n, 1)
    const first = d.pick([1, 2, 3, 4, 5].filter((n) => size % n === 0))
    return [[value], { shape: d.random() < 0.5 ? [first, -1] : [-1, first] }]
  },
  permute: (d) => {
    const value = d.float(1)
    const order = [...d.shape(value).keys()].map((dim) => [d.random(), dim] as const).sort(([a], [b]) => a - b)
    return [[value], { order: order.map(([, dim]) => dim) }]
  },
  transpose: (d) => {
    const value = d.float(2)
    return [[value], { dims: [d.dim(value), -1 - d.dim(value)] }]
  },
  broadcastTo: (d) => {
    const value = d.float()
    return [[value], { shape: [2, ...d.shape(value).map((size) => (size === 1 ? 3 : size))] }]
  },
  slice: (d) => {
    const value = d.float(1)
    const ranges = d.shape(value).map((size) => {
      const start = d.below(size)
      return [start, start + 1 + d.below(size - start), 1 + d.below(3)]
    })
    return [[value], { ranges }]
  },
  flip: (d) => {
    const value = d.float(1)
    return [[value], { dims: d.dims(value) }]
  },
  roll: (d) => {
    const value = d.float(1)
    const dims = d.dims(value)
    return [[value], { dims, shifts: dims.map(() => d.below(7) - 3) }]
  },
  tile: (d) => {
    const value = d.float(1)
    return [[value], { reps: d.shape(value).map(() => 1 + d.below(2)) }]
  },
  squeeze: (d) => {
    const value = d.step('unsqueeze', [d.float()], { dim: 0 })
    return [[value], { dim: 0 }]
  },
  unsqueeze: (d) => {
    const value = d.float()
    return [[value], { dim: d.below(d.shape(value).length + 1) }]
  },
  flatten: (d) => [[d.float(1)]],
  split: (d) => {
    const value = d.float(1)
    const dim = d.dim(value)
    const size = d.shape(value)[dim]!
    if (size < 2) return undefined
    const first = 1 + d.below(size - 1)
    return [[value], { dim, sizes: [first, size - first], part: d.below(2) }]
  },
  chunk: (d) => {
    const value = d.float(1)
    const dim = d.dim(value)
    const size = d.shape(value)[dim]!
    return size < 2 ? undefined : [[value], { dim, n: 2, part: d.below(2) }]
  },
  concat: (d) => {
    const value = d.float(1)
    const dim = d.dim(value)
    return [[value, d.leaf(d.shape(value).with(dim, 1 + d.below(3)))], { dim }]
  },
  stack: (d) => {
    const value = d.float()
    return [[value, d.leaf(d.shape(value))], { dim: d.below(d.shape(value).length + 1) }]
  },
  matmul: (d) => {
    const value = d.float(1)
    const k = d.shape(value).at(-1)!
    return [[value, d.leaf(d.random() < 0.3 ? [k] : [k, 1 + d.below(4)])]]
  },
  einsum: (d) => {
    const [b, h, t, s, k] = [2, 1 + d.below(2), 3, 2, 2]
    const [equation, left, right] = d.pick<[string, number[], number[]]>([
      ['bhtd,bhsd->bhts', [b, h, t, k], [b, h, s, k]],
      ['ij,jk->ki', [t, s], [s, k]],
      ['bij,bj->bi', [b, t, s], [b, s]],
      ['ii,ij->j', [t, t], [t, s]],
      ['i,j->ij', [t], [s]],
      ['bij,bij->', [b, t, s], [b, t, s]],
    ])
    return [[d.leaf(left), d.leaf(right)], { equation }]
  },
  linear: (d) => {
    const value = d.float(1)
    const outputs = 1 + d.below(4)
    return [[value, d.leaf([outputs, d.shape(value).at(-1)!]), d.leaf([outputs])]]
  },
  layerNorm: (d) => {
    const value = d.float(1)
    const n = [d.shape(value).at(-1)!]
    return [[value, d.leaf(n), d.leaf(n)], { eps: 0.1 }]
  },
  rmsNorm: (d) => {
    const value = d.float(1)
    return [[value, d.leaf([d.shape(value).at(-1)!])], { eps: 0.1 }]
  },
  groupNorm: (d) => {
    const groups = 1 + d.below(2)
    const channels = groups * (1 + d.below(2))
    return [[images(d, channels), d.leaf([channels]), d.leaf([channels])], { groups, eps: 0.1 }]
  },
  conv2d: (d) => {
    const groups = 1 + d.below(2)
    const [inputs, outputs] = [groups * (1 + d.below(2)), groups * (1 + d.below(2))]
    const weight = d.leaf([outputs, inputs / groups, 1 + d.below(3), 1 + d.below(3)])
    // The span of a kernel fits into the images with this padding.
    const dilation = 1 + d.below(2)
    return [
      [images(d, inputs), weight, d.leaf([outputs])],
      { stride: 1 + d.below(2), padding: dilation + d.below(2), dilation, groups },
    ]
  },
  maxPool2d: pooling,
  avgPool2d: pooling,
  attention: (d) => {
    const { inputs, args } = heads(d)
    return [inputs, { ...args, causal: d.random() < 0.5 }]
  },
  maskedAttention: (d) => {
    const { inputs, B, H, T, S, args } = heads(d)
    const shape = d.pick([
      [T, S],
      [B, 1, T, S],
      [B, H, T, S],
      [B, 1, 1, S],
    ])
    // Every query sees the first key.
    return [[...inputs, d.leaf(shape, (i) => (i % S === 0 ? 1 : d.below(2)), 'int32')], args]
  },
  crossEntropy: (d) => {
    const [rows, classes] = [2 + d.below(3), 2 + d.below(3)]
    const labels = d.leaf([rows], (i) => (i > 0 && d.random() < 0.2 ? -100 : d.below(classes)), 'int32')
    return [[d.leaf([rows, classes]), labels], { reduction: 'mean', labelSmoothing: d.pick([0, 0.1]), ignoreIndex: -100 }]
  },
  mseLoss: (d) => {
    const value = d.float(1)
    return [[value, d.leaf(d.shape(value))]]
  },
  bceWithLogits: (d) => {
    const value = d.float(1)
    return [[value, d.leaf(d.shape(value), () => d.random())]]
  },
}

function variances(d: Draw): Drawn | undefined {
  const value = d.float(1)
  const dim = d.dims(value)
  const count = dim.reduce((product, at) => product * d.shape(value)[at]!, 1)
  return count < 2 ? undefined : [[value], { dim, correction: d.below(2), keepdim: d.random() < 0.5 }]
}
