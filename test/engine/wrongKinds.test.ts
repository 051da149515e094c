// The messages of ops for arguments of a wrong kind.

import * as api from '../../engine/index.ts'
import { messageOf } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await api.requestDevice()
const other = await api.requestDevice()
api.setDefaultDevice(device)
const { test, run } = suite(`wrong kinds on ${device.summary.name}`)

const { tensor, ones } = api
const x: any = ones([2, 3])
const y: any = ones([2, 3])
const ints: any = tensor(Int32Array.of(0, 1))
const far: any = ones([2, 3], { device: other })
const gone: any = ones([2])
gone.dispose()
const any = api as any

const TABLE: [what: string, call: () => unknown, says: string | RegExp][] = [
  ['permute(1, 0)', () => x.permute(1, 0), 'permute: got 1, takes a list of dims such as [1, 0]'],
  ['permute of a dim twice', () => x.permute([0, 0]), 'permute: got [0, 0], takes each of the 2 dims of [2, 3] once'],
  ['permute of texts', () => x.permute(['a', 0]), 'permute: dim "a" does not exist in a tensor of rank 2, which takes -2 to 1'],
  [
    'slice([0, 1])',
    () => x.slice([0, 1]),
    'slice: got 0 as range 0, takes [start, stop] or [start, stop, step], a range for each dim such as [[0, 2], [], [-1]]',
  ],
  ['slice with a step of 0', () => x.slice([[0, 2, 0]]), /^slice: /],
  ['slice as of TensorFlow', () => x.slice([[0, 1]], [1, 2]), 'slice: got [1, 2] behind its arguments, takes no more'],
  ['slice of fractions', () => x.slice([[0.5, 2]]), /^slice: \[0\.5, 2\] takes nothing from dim 0/],
  ['slice of NaN', () => x.slice([[NaN]]), /^slice: \[NaN, 2\] takes nothing from dim 0/],
  ['reshape(2, 3)', () => x.reshape(2, 3), 'reshape: got shape 2, takes a list such as [2, -1]'],
  ['reshape of texts', () => x.reshape(['6']), 'reshape: got "6" in the shape, takes a list of numbers such as [2, -1]'],
  ["transpose('a')", () => x.transpose('a'), 'transpose: dim "a" does not exist in a tensor of rank 2, which takes -2 to 1'],
  ['transpose without dims', () => x.transpose(), /^transpose: dim undefined does not exist/],
  ['broadcastTo(3)', () => x.broadcastTo(3), 'broadcastTo: got shape 3, takes a list such as [2, 3]'],
  ...(['add', 'sub', 'mul', 'div', 'pow'] as const).flatMap((op): [string, () => unknown, string][] => [
    [`${op}(undefined)`, () => x[op](undefined), `${op}: got undefined, takes a tensor or a number`],
    [`${op}('3')`, () => x[op]('3'), `${op}: got "3", takes a tensor or a number`],
    [`${op}(null)`, () => x[op](null), `${op}: got null, takes a tensor or a number`],
    [`${op}([1, 2])`, () => x[op]([1, 2]), `${op}: got [1, 2], takes a tensor or a number`],
    [`${op}(2n)`, () => x[op](2n), `${op}: got 2n, takes a tensor or a number`],
    [`${op} of three`, () => any[op](x, y, y), `${op}: got a tensor float32 [2, 3] behind its arguments, takes no more`],
    [`${op} of a disposed tensor`, () => x[op](gone), `${op}: a tensor of shape [2] was used after it was disposed`],
    [`${op} of two devices`, () => x[op](far), `${op}: tensors of two devices; move one with data() first`],
  ]),
  ['add of two numbers', () => any.add(1, 2), 'add: got two numbers, takes at least one tensor'],
  ...(['sum', 'mean', 'max', 'argmax'] as const).flatMap((op): [string, () => unknown, RegExp | string][] => [
    [`${op}('x')`, () => x[op]('x'), new RegExp(`^${op}: dim "x" does not exist in a tensor of rank 2, which takes -2 to 1$`)],
    [`${op}(1.5)`, () => x[op](1.5), new RegExp(`^${op}: dim 1.5 does not exist`)],
    [`${op}(NaN)`, () => x[op](NaN), new RegExp(`^${op}: dim NaN does not exist`)],
    [`${op}(2)`, () => x[op](2), new RegExp(`^${op}: dim 2 does not exist`)],
    [`${op}(-3)`, () => x[op](-3), new RegExp(`^${op}: dim -3 does not exist`)],
    [`${op}(null)`, () => x[op](null), new RegExp(`^${op}: dim null does not exist`)],
    [`${op} with keepdim 1`, () => x[op](0, 1), `${op}: got 1 as keepdim, takes true or false`],
    [`${op} with options`, () => x[op](0, { keepdim: true }), `${op}: got an object as keepdim, takes true or false`],
    [`${op} of a number`, () => any[op](3), `${op}: got 3, takes a tensor`],
  ]),
  ['sum over a dim twice', () => x.sum([0, 0]), 'sum: dims [0,0] name a dim twice'],
  [
    'argmax of several dims',
    () => x.argmax([0, 1]),
    'argmax: dim [0, 1] does not exist in a tensor of rank 2, which takes -2 to 1',
  ],
  ['softmax without dim', () => x.softmax(), /^softmax: dim undefined does not exist/],
  [
    'cumsum of options',
    () => x.cumsum(0, { reverse: true }),
    'cumsum: got an object behind its arguments, takes no more (no option reverse)',
  ],
  [
    "gelu({ approximate: 'erf' })",
    () => x.gelu({ approximate: 'erf' }),
    /^gelu: got "erf" as approximate, takes 'none' or 'tanh'$/,
  ],
  ['gelu with an unknown option', () => x.gelu({ aproximate: 'tanh' }), /^gelu: .*did you mean "approximate"/],
  ['clamp of options', () => x.clamp({ min: 0 }), /^clamp: got .* as min, takes a number$/],
  ['leakyRelu of a text', () => x.leakyRelu('0.1'), 'leakyRelu: got "0.1" as slope, takes a number'],
  ['eq of a list', () => x.eq([1]), 'eq: got [1], takes a tensor or a number'],
  ['logicalAnd of a number', () => x.logicalAnd(1), 'logicalAnd: got 1, takes a tensor'],
  ['matmul of a number', () => x.matmul(3), 'matmul: got 3, takes a tensor'],
  ['matmul with flags', () => x.matmul(y, false, true), 'matmul: got false behind its arguments, takes no more'],
  ['concat of a tensor', () => any.concat(x), 'concat: got a tensor float32 [2, 3], takes a list of tensors'],
  ['concat of tensors side by side', () => any.concat(x, y), 'concat: got a tensor float32 [2, 3], takes a list of tensors'],
  ['concat of nothing', () => any.concat([], 0), 'concat: got no tensors, takes at least one'],
  ['concat of numbers', () => any.concat([x, 1], 0), 'concat: got 1 as number 1 of the list, takes a tensor'],
  ['concat of a hole', () => any.concat(Array(2), 0), 'concat: got undefined as number 0 of the list, takes a tensor'],
  ['concat without dim', () => any.concat([x, y]), /^concat: dim undefined does not exist/],
  ['stack of nothing', () => any.stack([]), 'stack: got no tensors, takes at least one'],
  ['where of a number', () => any.where(1, x, y), 'where: got 1 as the condition, takes a tensor'],
  ['where of a list', () => any.where(x, [1], y), 'where: got [1], takes a tensor or a number'],
  [
    'embedding of floats',
    () => any.embedding(x, y),
    'embedding: got float32 [2, 3] and float32 [2, 3]; takes weight float32 [V, D] and indices int32 [...]',
  ],
  ['embedding of a list', () => any.embedding(x, [0, 1]), 'embedding: got [0, 1] as indices, takes a tensor'],
  ['linear without weight', () => x.linear(), 'linear: got undefined as weight, takes a tensor'],
  ['linear with null for bias', () => x.linear(y, null), 'linear: got null as bias, takes a tensor'],
  [
    'linear with an unknown option',
    () => x.linear(y, undefined, { activation: 'gelu' }),
    /^linear: unknown option "activation"; it takes gelu, dropout, residual, dtype$/,
  ],
  ['linear with gelu 1', () => x.linear(y, undefined, { gelu: 1 }), 'linear: got 1 as gelu, takes true or false'],
  ['layerNorm without bias', () => x.layerNorm(ones([3])), 'layerNorm: got undefined as bias, takes a tensor'],
  ...[NaN, -1, Infinity, '1e-5', null, { eps: 1e-5 }].map((eps): [string, () => unknown, RegExp] => [
    `layerNorm with eps ${eps}`,
    () => x.layerNorm(ones([3]), ones([3]), eps),
    /^layerNorm: got .+ as eps, takes a finite number of at least 0$/,
  ]),
  ['rmsNorm without weight', () => x.rmsNorm(), 'rmsNorm: got undefined as weight, takes a tensor'],
  ['rmsNorm with a bias', () => x.rmsNorm(ones([3]), ones([3])), /^rmsNorm: got .+ as eps, takes a finite number/],
  [
    'conv2d with a stride of 0',
    () => x.conv2d(x, undefined, { stride: 0 }),
    /^conv2d: got 0 as stride, takes a whole number from 1/,
  ],
  [
    'conv2d with three paddings',
    () => x.conv2d(x, undefined, { padding: [1, 1, 1] }),
    /^conv2d: got .+ as padding, takes a whole number or \[rows, columns\]$/,
  ],
  ['maxPool2d without size', () => x.maxPool2d(), 'maxPool2d: got undefined as size, takes a whole number or [rows, columns]'],
  ['groupNorm without groups', () => x.groupNorm(ones([3]), ones([3])), /^groupNorm: got .+ as groups, takes a whole number/],
  ['mseLoss of a number', () => x.mseLoss(1), 'mseLoss: got 1 as targets, takes a tensor'],
  ...[NaN, 1.5, -0.1, '0.5', undefined].map((p): [string, () => unknown, RegExp] => [
    `dropout(${p})`,
    () => x.dropout(p),
    /^dropout: got p = .+, takes 0 to 1$/,
  ]),
  ['dropout with a flag', () => x.dropout(0.5, true), 'dropout: got true behind its arguments, takes no more'],
  [
    'attention of matrices',
    () => any.scaledDotProductAttention(x, x, x),
    /^scaledDotProductAttention: got float32 \[2, 3\], .*; takes \[B, H, Tq, Dh\]/,
  ],
  [
    'attention without v',
    () => any.scaledDotProductAttention(x, x),
    'scaledDotProductAttention: got undefined as v, takes a tensor',
  ],
  [
    'attention with a misspelt option',
    () => any.scaledDotProductAttention(ones([1, 1, 2, 2]), ones([1, 1, 2, 2]), ones([1, 1, 2, 2]), { casual: true }),
    'scaledDotProductAttention: unknown option "casual" (did you mean "causal"?); it takes causal, mask, dropout, scale',
  ],
  [
    'attention with a mask that requires a gradient',
    () => any.packedAttention(ones([1, 2, 6]), 1, { mask: ones([2, 2], { requiresGrad: true }) }),
    'packedAttention: got a mask that requires a gradient, takes one without; detach() gives it',
  ],
  [
    'crossEntropy of float labels',
    () => x.crossEntropy(ones([2])),
    /^crossEntropy: got float32 \[2, 3\] and float32 \[2\]; takes/,
  ],
  [
    'crossEntropy of more labels',
    () => x.crossEntropy(tensor(Int32Array.of(0, 1, 2))),
    /^crossEntropy: got float32 \[2, 3\] and int32 \[3\]; takes/,
  ],
  ['crossEntropy of a list', () => x.crossEntropy([0, 1]), 'crossEntropy: got [0, 1] as labels, takes a tensor'],
  [
    'crossEntropy with too much smoothing',
    () => x.crossEntropy(ints, { labelSmoothing: 2 }),
    'crossEntropy: got 2 as labelSmoothing, takes a number from 0 to 1',
  ],
  [
    'crossEntropy with a name',
    () => x.crossEntropy(ints, 'mean'),
    'crossEntropy: got "mean" as options, takes an object such as { reduction: … }',
  ],
  [
    'tensor with requires_grad',
    () => any.tensor([1], { requires_grad: true }),
    /^tensor: unknown option "requires_grad" \(did you mean "requiresGrad"\?\)/,
  ],
  [
    'a text for requiresGrad',
    () => any.tensor([1], { requiresGrad: 'no' }),
    'tensor: got "no" as requiresGrad, takes true or false',
  ],
  [
    'backward of a number',
    () =>
      ones([2], { requiresGrad: true })
        .mul(2)
        .backward(1 as any),
    'backward: got 1 as the cotangent, takes a tensor',
  ],
  [
    'backward of another device',
    () => ones([2, 3], { requiresGrad: true }).mul(2).backward(far),
    'backward: tensors of two devices; move one with data() first',
  ],
  [
    'backward of a disposed cotangent',
    () => ones([2], { requiresGrad: true }).mul(2).backward(gone),
    'backward: a tensor of shape [2] was used after it was disposed',
  ],
  ...[3, undefined, [1, 2], null].map((junk): [string, () => unknown, RegExp] => [
    `a captured function of ${junk}`,
    () => any.capture((t: any) => t.mul(2))(junk),
    /^capture: got .+ as input 0, takes a tensor; other values are fixed inside$/,
  ]),
  ...(['zeros', 'ones', 'randn', 'rand', 'empty'] as const).flatMap((op): [string, () => unknown, RegExp][] => [
    [`${op}()`, () => any[op](), new RegExp(`^${op}: got shape undefined, takes a list such as`)],
    [`${op}(2)`, () => any[op](2, 3), new RegExp(`^${op}: got `)],
    [`${op}([-1])`, () => any[op]([-1]), new RegExp(`^${op}: shape \\[-1\\] has a dim -1 that is not at least 1`)],
    [`${op}([NaN])`, () => any[op]([NaN]), new RegExp(`^${op}: shape \\[NaN\\] has a dim NaN`)],
    [`${op}([1.5])`, () => any[op]([1.5]), new RegExp(`^${op}: shape \\[1.5\\] has a dim 1.5`)],
    [`${op}(['2'])`, () => any[op](['2']), new RegExp(`^${op}: shape \\["2"\\] has a dim "2"`)],
    [`${op}([1e9, 1e9])`, () => any[op]([1e9, 1e9]), new RegExp(`^${op}: shape \\[1000000000, 1000000000\\] has more than`)],
  ]),
  [
    'randn with mean and deviation',
    () => any.randn([2], 0, 1),
    'randn: got 0 as options, takes an object such as { dtype: … }',
  ],
  ['zeros of a dtype', () => any.zeros([2], 'int32'), 'zeros: got "int32" as options, takes an object such as { dtype: … }'],
  ['full of a text', () => any.full([2], '3'), 'full: got "3" as the value, takes a number'],
  ['full without value', () => any.full([2]), 'full: got undefined as the value, takes a number'],
  ['arange()', () => any.arange(), /^arange: got undefined, takes arange\(stop\)/],
  ["arange('3')", () => any.arange('3'), /^arange: got "3", takes arange\(stop\)/],
  ['arange by 0', () => any.arange(0, 5, 0), /^arange: there are Infinity numbers from 0 to 5 by 0/],
  ['arange by NaN', () => any.arange(0, 5, NaN), /^arange: there are NaN numbers/],
  ['arange to 1e18', () => any.arange(1e18), /^arange: there are 1000000000000000000 numbers/],
  ['arange of a text among numbers', () => any.arange(0, '5', 1), /^arange: got "5", takes numbers first/],
]

for (const [what, call, says] of TABLE) {
  test(what, () => {
    const found = messageOf(() => api.scope(call))
    if (typeof says === 'string' ? found !== says : !says.test(found)) throw new Error(found)
  })
}

test('map and reduce may pass their index and array', async () => {
  const list = [ones([1]), ones([1]).mul(2)]
  const values = await Promise.all(list.map(any.exp).map((t: any) => t.item()))
  if (!(Math.abs(values[1] - Math.exp(2)) < 1e-4)) throw new Error(`${values}`)
  if ((await (list.reduce(any.add) as any).item()) !== 3) throw new Error('the sum')
})

run()
