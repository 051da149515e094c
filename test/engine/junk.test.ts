// Every public function, constructor and method, called with values that it does not take: in each place, one after the other. What is
// thrown is of our classes, one line, and names the function.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as api from '../../train/index.ts'
import { suite } from '../harness/suite.ts'

const device = await api.requestDevice()
const other = await api.requestDevice()
api.setDefaultDevice(device)
const folder = mkdtempSync(join(tmpdir(), 'paraformer-junk-'))
const path = join(folder, 'x.safetensors')
// Some junk is a path, to which files are written.
const tree = process.cwd()
process.chdir(folder)
const { test, run } = suite(`wrong arguments on ${device.summary.name}`)

const { tensor, ones } = api
const x = (...shape: number[]) => ones(shape, { requiresGrad: true })
const labels = () => tensor(Int32Array.of(0, 1))
const tiny = {
  imageSize: 4,
  patchSize: 2,
  channels: 1,
  dim: 4,
  heads: 1,
  dimHead: 4,
  mlpDim: 4,
  branches: 2,
  branchDepth: 1,
  classes: 2,
}
const { branches: _, branchDepth: __, ...shared } = tiny
const model = new api.ParaFormer(tiny)
const vit = new api.ViT({ ...shared, depth: 1 })
const optimizer = new api.AdamW(new api.ParaFormer(tiny).namedParameters())
const objective = api.makeScheme('joint', 2).passes[0]![0]!
const images = () => ones([2, 1, 4, 4])
const entry = () => ({ dtype: 'F32', shape: [1], data: Float32Array.of(1) })
const bytes = api.encodeSafetensors(new Map([['a', entry() as api.SafetensorsEntry]]))
const distributed = await api.distributeBranches(new api.ParaFormer(tiny), { others: [{}], inProcess: true })
const batch = () => ({ images: new Float32Array(32), labels: Int32Array.of(0, 1) })

type Arguments = () => unknown[]

/** Arguments with which each function works. */
const FUNCTIONS: Record<string, Arguments> = {
  add: () => [x(2), x(2)],
  addAll: () => [[x(2), x(2)]],
  arange: () => [0, 4, 2, { dtype: 'int32' }],
  argmax: () => [x(2, 3), 1, true],
  autocast: () => ['float32', () => 1],
  backward: () => [x(2).mul(2), ones([2])],
  branchShape: () => [model.config],
  broadcastTo: () => [x(1, 3), [2, 3]],
  capture: () => [(t: api.Tensor) => t.mul(2)],
  captureStep: () => [model, optimizer, objective, 1],
  cast: () => [x(2), 'float32'],
  checkConfig: () => [tiny, 'paraformer'],
  checkPrefix: () => [model.config, 1],
  chromeTrace: () => [[{ name: 'a', dispatches: [], offset: 0 }]],
  colocate: () => [[x(2), x(3)]],
  concat: () => [[x(2), x(2)], 0],
  countFlops: () => [model.config, { branches: 1 }],
  countParameters: () => [model.config, { branches: 1 }],
  createModel: () => [tiny],
  crossEntropy: () => [x(2, 3), labels(), { reduction: 'none' }],
  cumsum: () => [x(2, 3), 0],
  decays: () => ['weight', x(2, 2)],
  // No image is given: they fail as files do.
  decodeImage: () => [new Uint8Array(4), 'a file'],
  decodeSafetensors: () => [bytes, 'a file'],
  defaultDevice: () => [],
  defineOp: () => [{ name: 'twice', forward: (_: unknown, [t]: [api.Tensor]) => t.detach() }],
  describe: () => [device.summary],
  div: () => [x(2), x(2)],
  dropout: () => [x(2), 0.5],
  embedding: () => [x(3, 2), labels()],
  empty: () => [[2], 'float32', device],
  encodeSafetensors: () => [new Map([['a', entry()]]), { epoch: '3' }],
  exp: () => [x(2)],
  firstNonFinite: () => [() => void x(2).exp()],
  firstTokenAttention: () => [x(2, 3, 4), x(12, 4), 1],
  fork: () => [device, 'serial', { a: () => x(2) }, { together: 1 }],
  fromHost: () => [() => Float32Array.of(1, 2), [2], device],
  full: () => [[2], 1, { dtype: 'float32' }],
  gelu: () => [x(2)],
  layerNorm: () => [x(2, 3), x(3), x(3), 1e-5],
  linear: () => [x(2, 3), x(4, 3), x(4), { gelu: true }],
  listAdapters: () => [],
  loadSafetensors: () => [path],
  log: () => [x(2)],
  logSoftmax: () => [x(2, 3), 1],
  makeScheme: () => ['prefixSum', 2, { weights: [1, 1] }],
  matmul: () => [x(2, 3), x(3, 4)],
  max: () => [x(2, 3), 1, true],
  mean: () => [x(2, 3), 1, true],
  mlp: () => [x(2, 3), x(4, 3), x(4), x(3, 4), x(3), x(2, 3)],
  mul: () => [x(2), x(2)],
  neg: () => [x(2)],
  noGrad: () => [() => 1],
  ones: () => [[2], {}],
  openSafetensors: () => [path],
  optimizerStep: () => [model, optimizer, objective, [{ images: images(), labels: labels(), share: 1 }], 1e-3, 1],
  packedAttention: () => [x(2, 3, 12), 1],
  packedCrossAttention: () => [x(2, 3, 4), x(2, 3, 8), 1],
  parseConfig: () => [JSON.stringify(tiny)],
  permute: () => [x(2, 3), [1, 0]],
  pow: () => [x(2), 2],
  rand: () => [[2], {}],
  randn: () => [[2], {}],
  readImage: () => [path, 1, 4],
  reason: () => ['why'],
  recompute: () => [(t?: api.Tensor) => t?.mul(2), x(2)],
  relu: () => [x(2)],
  requestDevice: () => [{ adapter: 'no such adapter' }],
  requireFloat16: () => ['this', device],
  reshape: () => [x(2, 3), [3, -1]],
  saveSafetensors: () => [path, { a: entry() }, { epoch: '3' }],
  scaledDotProductAttention: () => [x(1, 1, 2, 4), x(1, 1, 3, 4), x(1, 1, 3, 4)],
  schedule: () => ['cosine', { lr: 1, warmup: 1, total: 10 }],
  scope: () => [() => 1],
  setDefaultDevice: () => [device],
  sigmoid: () => [x(2)],
  slice: () => [x(2, 3), [[0, 1], []]],
  softmax: () => [x(2, 3), 1],
  // Before anything is opened a ViT ends it.
  distributeBranches: () => [vit, { others: [{}], inProcess: true }],
  sqrt: () => [x(2)],
  stack: () => [[x(2), x(2)], 0],
  sub: () => [x(2), x(2)],
  sum: () => [x(2, 3), [0, 1], true],
  tanh: () => [x(2)],
  tensor: () => [[1, 2], { dtype: 'int32' }],
  toFloat32: () => [entry()],
  transpose: () => [x(2, 3), 0, 1],
  tuneDevice: () => [other, 'off', () => {}, { budget: 1 }],
  watchOps: () => [() => {}, () => 1],
  where: () => [x(2), x(2), 0],
  withoutScope: () => [() => 1],
  zeros: () => [[2], {}],
}

const CONSTRUCTORS: Record<string, Arguments> = {
  AdamW: () => [new api.ParaFormer(tiny).namedParameters(), { weightDecay: 0 }],
  LossScale: () => [{ initial: 2 }],
  ParaFormer: () => [tiny, { own: [0] }],
  Profiler: () => [device.gpu],
  Tracing: () => [device],
  ViT: () => [{ ...shared, depth: 1 }],
}

/** Classes whose constructors take what only this package makes, or nothing. */
const MADE_INSIDE = ['BranchDevices', 'Device', 'DeviceStore', 'Module', 'Stream', 'Tensor']

/** Objects of each class, and arguments of methods that are no functions of `FUNCTIONS`. */
const METHODS: Record<string, { make: () => object; methods: Record<string, Arguments> }> = {
  Tensor: {
    make: () => x(1),
    methods: { data: () => [], item: () => [], write: () => [new Float32Array(1)], array: () => [], detach: () => [] },
  },
  ParaFormer: {
    make: () => model,
    methods: {
      forward: () => [images(), { branches: 1 }],
      features: () => [images(), {}],
      forwardPrefixes: () => [images(), {}],
      branchOutputs: () => [images(), {}],
      train: () => [false],
      loadStateDict: () => [model.stateDict()],
    },
  },
  ViT: {
    make: () => vit,
    methods: {
      forward: () => [images(), {}],
      features: () => [images(), {}],
      train: () => [false],
      loadStateDict: () => [vit.stateDict()],
    },
  },
  AdamW: { make: () => optimizer, methods: { step: () => [1e-3, 1], setSteps: () => [{}] } },
  LossScale: { make: () => optimizer.lossScale, methods: { restore: () => [{ scale: 1, steady: 0 }] } },
  BranchDevices: {
    make: () => distributed,
    methods: {
      updates: () => [batch(), [{ objective, lr: 1e-3 }], { parts: 1 }],
      infer: () => [new Float32Array(32), 2, { branches: 2, eachBranch: false }, () => 1],
      gradients: () => [batch(), 2, 2],
    },
  },
}

/** Methods that take nothing, or are for the package's own use: what they take only it makes. */
const INSIDE: Record<string, readonly string[]> = {
  Tensor: ['isContiguous', 'contiguous', 'dispose', 'rebind', 'moveTo', 'adopt', 'changed'],
  ParaFormer: [
    'prefixOutputs',
    'inPrecision',
    'sequence',
    'branchOutput',
    'namedChildren',
    'namedParameters',
    'parameters',
    'eval',
    'stateDict',
    'dispose',
  ],
  ViT: [
    'inPrecision',
    'sequence',
    'branchOutput',
    'namedChildren',
    'namedParameters',
    'parameters',
    'eval',
    'stateDict',
    'dispose',
  ],
  AdamW: ['gradNorm', 'zeroGrad', 'gather', 'flat', 'dispose', 'state', 'steps'],
  LossScale: ['copy', 'save', 'dispose'],
  BranchDevices: ['state', 'startTrace', 'endTrace', 'hurry', 'close'],
}

/** Functions that open adapters whatever stands behind their arguments, which takes long. */
const OPENS = ['requestDevice', 'listAdapters']

/** Names that messages begin with, where it is not the function's own. */
const SPEAKERS: Record<string, string[]> = {
  optimizerStep: ['forward', 'model', 'crossEntropy', 'AdamW', 'AdamW.step'],
  restore: ['LossScale.restore'],
  setSteps: ['AdamW.setSteps'],
  step: ['AdamW', 'AdamW.step'],
  captureStep: ['capture'],
  saveSafetensors: ['data'],
  forward: ['model'],
  features: ['model'],
  forwardPrefixes: ['model'],
  branchOutputs: ['model'],
  // What runs the function.
  recompute: ['scope'],
  firstNonFinite: ['scope'],
  infer: ['noGrad'],
}

function junk(): [string, unknown][] {
  const gone = ones([2])
  gone.dispose()
  return [
    ...[
      undefined,
      null,
      true,
      3,
      -1,
      0,
      1.5,
      NaN,
      Infinity,
      1e300,
      3n,
      '',
      '3',
      'float32',
      [],
      [1, 0],
      [undefined],
      [NaN],
      ['a'],
      [[]],
    ].map((one): [string, unknown] => [
      Array.isArray(one) ? `[${one.map(String)}]` : typeof one === 'string' ? `"${one}"` : String(one),
      one,
    ]),
    ['{}', {}],
    ['{ labelSmoothing }', { labelSmoothing: 1 }],
    ['a bare object', Object.create(null)],
    ['a function', () => {}],
    ['an asynchronous function', async () => {}],
    ['a symbol', Symbol('s')],
    ['a date', new Date(0)],
    ['a map', new Map([['a', 1]])],
    ['bytes', new Uint8Array(2)],
    ['a bigint array', new BigInt64Array(2)],
    ['floats', new Float32Array(2)],
    ['a promise', Promise.resolve(1)],
    ['a disposed tensor', gone],
    ['a list of a disposed tensor', [gone]],
    ['a tensor', ones([7])],
    ['an int32 tensor', tensor(Int32Array.of(1, 2, 3))],
    ['a tensor of another device', ones([2], { device: other })],
    ['another device', other],
  ]
}

/** What somebody may write behind the last argument. */
const BEHIND: [string, unknown][] = [
  ['true', true],
  ['3', 3],
  ['{ causal }', { causal: true }],
  ['null', null],
]

const OURS = [
  api.ArgumentError,
  api.UserError,
  api.OutOfMemoryError,
  api.DeviceLostError,
  api.ValidationError,
  api.KernelCompileError,
] as readonly (new (
  message: string,
) => Error)[]

/** What is wrong with an error, if anything. */
function fault(name: string, error: unknown): string | undefined {
  if (!(error instanceof Error)) return `threw ${String(error)}`
  const said = `${error.name}: ${error.message.slice(0, 300)}`
  if (!OURS.some((one) => error instanceof one)) return `threw ${said}`
  if (/[\r\n]/.test(error.message)) return `more than one line: ${said}`
  const speakers = [name, ...(SPEAKERS[name] ?? [])]
  if (error instanceof api.ArgumentError && !speakers.some((one) => error.message.startsWith(`${one}: `)))
    return `does not name ${name}: ${said}`
  return undefined
}

/** What was asked for, waited for: one promise, or a list of them. */
function settled(result: unknown): unknown {
  return Array.isArray(result) ? Promise.all(result) : result
}

/** Calls `fn` with junk in each place, and with too few arguments. @returns what is wrong, one line a call */
async function misuse(name: string, args: Arguments, fn: (...given: unknown[]) => unknown): Promise<string[]> {
  const faults: string[] = []
  const attempt = async (what: string, given: unknown[]) => {
    let result: unknown
    try {
      api.scope(() => {
        result = fn(...given)
      })
      const value = await settled(result)
      if (value instanceof api.Device && value !== device && value !== other) value.destroy()
    } catch (error) {
      const found = fault(name, error)
      if (found) faults.push(`${name}(${what}): ${found}`)
    }
    api.setDefaultDevice(device)
    device.op = ''
  }
  try {
    await settled(fn(...args()))
  } catch (error) {
    if (!(error instanceof api.UserError)) faults.push(`${name}: does not work: ${error}`)
  }
  api.setDefaultDevice(device)
  for (let i = 0; i < args().length; i++) await attempt(`only ${i} arguments`, args().slice(0, i))
  // One place behind the last, too.
  const { length } = args()
  for (let i = 0; i < length + (OPENS.includes(name) ? 0 : 1); i++) {
    for (const [what, value] of i < length ? junk() : BEHIND) {
      const given = args()
      given[i] = value
      await attempt(`${what} at ${i}`, given)
    }
  }
  return faults
}

function isClass(value: unknown): value is new (...given: unknown[]) => object {
  return typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value))
}

const exported = Object.entries(api).filter(
  (one): one is [string, (...given: unknown[]) => unknown] => typeof one[1] === 'function',
)

test('every function, constructor and method is in a table', () => {
  const missing = exported.flatMap(([name, value]) => {
    if (!isClass(value)) return Object.hasOwn(FUNCTIONS, name) ? [] : [name]
    if (value.prototype instanceof Error || MADE_INSIDE.includes(name) || Object.hasOwn(CONSTRUCTORS, name)) return []
    return [`new ${name}`]
  })
  for (const [name, { make, methods }] of Object.entries(METHODS)) {
    for (const method of methodsOf(make())) {
      const known = [methods, FUNCTIONS].some((table) => Object.hasOwn(table, method)) || INSIDE[name]!.includes(method)
      if (!known) missing.push(`${name}.${method}`)
    }
  }
  if (missing.length > 0) throw new Error(missing.join(', '))
})

function methodsOf(object: object): string[] {
  const names = new Set<string>()
  for (let at = Object.getPrototypeOf(object); at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at)))
      if (typeof value === 'function' && name !== 'constructor') names.add(name)
  }
  return [...names]
}

function report(faults: readonly string[]): void {
  if (faults.length > 0) throw new Error(`${faults.length} faults:\n${faults.join('\n')}`)
}

for (const [name, value] of exported) {
  const args = isClass(value) ? CONSTRUCTORS[name] : FUNCTIONS[name]
  if (!args) continue
  test(name, async () => {
    const made: unknown[] = []
    const call = isClass(value)
      ? (...given: unknown[]) => {
          const one = new value(...given)
          made.push(one)
          return undefined
        }
      : value
    report(await misuse(name, args, call))
    device.profiler = undefined
    for (const one of made) (one as { dispose?: () => void }).dispose?.()
  })
}

for (const [name, { make, methods }] of Object.entries(METHODS)) {
  for (const method of methodsOf(make())) {
    if (INSIDE[name]!.includes(method)) continue
    test(`${name}.${method}`, async () => {
      const args = methods[method] ?? (() => FUNCTIONS[method]!().slice(1))
      report(
        await misuse(method, args, (...given) => {
          const self = (methods[method] || name !== 'Tensor' ? make() : FUNCTIONS[method]!()[0]) as Record<
            string,
            (...all: unknown[]) => unknown
          >
          return self[method]!(...given)
        }),
      )
    })
  }
}

test('the device still works, and nothing was left behind', async () => {
  const [value] = await ones([1]).mul(3).data()
  if (value !== 3) throw new Error(`${value}`)
  await device.synchronize()
  await other.synchronize()
  process.chdir(tree)
  rmSync(folder, { recursive: true })
})

run()
