import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as api from '../../train/index.ts'
import { elementwiseCalls } from './elementwiseCalls.ts'

export const device = await api.requestDevice()
export const other = await api.requestDevice()
api.setDefaultDevice(device)
export const folder = mkdtempSync(join(tmpdir(), 'paraformer-junk-'))
const path = join(folder, 'x.safetensors')

const { tensor, ones } = api
const x = (...shape: number[]) => ones(shape, { requiresGrad: true })
const labels = () => tensor(Int32Array.of(0, 1))
const index = () => tensor(Int32Array.of(1, 0), { shape: [2, 1] })
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
const ensemble = new api.Ensemble({ ...shared, members: 2, depth: 1 })
const optimizer = new api.AdamW(new api.ParaFormer(tiny).namedParameters())
const named = (): [string, api.Tensor][] => [['w', x(2, 2)]]
const optimizers = {
  Sgd: new api.Sgd(named(), { momentum: 0.9 }),
  Lion: new api.Lion(named()),
  Muon: new api.Muon(named()),
}
const ema = new api.Ema(named())
const objective = api.makeScheme('joint', 2).passes[0]![0]!
const images = () => ones([2, 1, 4, 4])
const entry = () => ({ dtype: 'F32', shape: [1], data: Float32Array.of(1) })
const bytes = api.encodeSafetensors(new Map([['a', entry() as api.SafetensorsEntry]]))
const distributed = await api.distributeBranches(new api.ParaFormer(tiny), { others: [{}], inProcess: true })
const batch = () => ({ images: new Float32Array(32), labels: Int32Array.of(0, 1) })

const pixels = { images: new Uint8Array(2 * 16), labels: Uint8Array.of(0, 1), count: 2 }
const loader = new api.BatchLoader({ channels: 1, height: 4, width: 4, mean: [0], std: [1] }, pixels, { batchSize: 2 })
const source = { name: 'mnist', channels: 1, height: 4, width: 4, classes: 2, train: pixels, test: pixels }
const base = await api.cutModel(new api.ParaFormer(tiny), [0, 1], 'float32')
const study = {
  ...{ id: 's', hypothesis: 'h', prediction: 'p', metric: 'testAccuracy', decisionRule: [], seeds: [1], budget: 'steps' },
  ...{ arms: { joint: { settings: {} } }, presets: { tiny: { validation: 0.1 } } },
}
const settings = () => api.checkSettings({ ...settingsOf(tiny), mode: 'serial', scheme: 'joint', batchSize: 2 })
function settingsOf({ imageSize, channels, classes, ...settings }: typeof tiny) {
  return settings
}
const data = () =>
  ({ dataset: { name: 'mnist', channels: 1, height: 4, width: 4, classes: 2 }, train: loader, evaluation: loader }) as never
const doubling: api.KernelSpec<{ n: number }> = {
  name: 'doubling',
  bindings: [{ name: 'x', access: 'read_write', dtype: 'f32' }],
  params: [{ name: 'n', type: 'u32' }],
  variants: [
    {
      name: 'plain',
      source: `@group(0) @binding(0) var<storage, read_write> x: array<f32>;
struct Params { n: u32 }
@group(1) @binding(0) var<uniform> params: Params;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < params.n) { x[id.x] = 2 * x[id.x]; }
}`,
      grid: () => [1, 1, 1],
    },
  ],
  flops: () => 0,
  bytes: () => 0,
}

export type Arguments = () => unknown[]

/** Valid arguments of every public function. */
export const FUNCTIONS: Record<string, Arguments> = {
  ...elementwiseCalls(x),
  add: () => [x(2), x(2)],
  addAll: () => [[x(2), x(2)]],
  all: () => [x(2, 3), [0, 1], true],
  any: () => [x(2, 3), [0, 1], true],
  arange: () => [0, 4, 2, { dtype: 'int32' }],
  argmax: () => [x(2, 3), 1, true],
  argmin: () => [x(2, 3), 1, true],
  argsort: () => [x(2, 3), 1, { descending: true }],
  autocast: () => ['float32', () => 1],
  avgPool2d: () => [x(1, 2, 4, 4), 2, { stride: 2 }],
  backward: () => [x(2).mul(2), ones([2])],
  batchNorm: () => [x(2, 3, 4), x(3), x(3), { momentum: 0.2 }],
  bceWithLogits: () => [x(2), ones([2]), { reduction: 'sum' }],
  bernoulli: () => [ones([2])],
  branchShape: () => [model.config],
  broadcastTo: () => [x(1, 3), [2, 3]],
  buffer: () => [() => ones([2])],
  capture: () => [(t: api.Tensor) => t.mul(2)],
  captureStep: () => [model, optimizer, objective, 1],
  chunk: () => [x(4), 2, 0],
  classGroups: () => [4, 2, { seed: 1 }],
  classTasks: () => [source, [[1], [0]]],
  cast: () => [x(2), 'float32'],
  checkConfig: () => [tiny, 'paraformer'],
  checkPrefix: () => [model.config, 1],
  checkSettings: () => [{ dim: 8 }],
  chromeTrace: () => [[{ name: 'a', dispatches: [], offset: 0 }]],
  clsAttention: () => [model, images()],
  clone: () => [x(2)],
  colocate: () => [[x(2), x(3)]],
  // On two images no model is better than chance: the function refuses it when it has run on them.
  compress: () => [model, { validation: loader, test: loader, thresholds: [0.5], batches: [1], mode: 'serial' }],
  conv2d: () => [x(1, 2, 4, 4), x(4, 1, 3, 3), x(4), { groups: 2, padding: 1 }],
  concat: () => [[x(2), x(2)], 0],
  countFlops: () => [model.config, { branches: 1 }],
  countParameters: () => [model.config, { branches: 1 }],
  createModel: () => [tiny],
  crossEntropies: () => [x(2, 2, 3), labels()],
  crossEntropy: () => [x(2, 3), labels(), { reduction: 'none' }],
  cummax: () => [x(2, 3), 0],
  cumprod: () => [x(2, 3), 0],
  cumsum: () => [x(2, 3), 0],
  cutModel: () => [model, [1, 0], 'float16'],
  datasetTasks: () => [source, source],
  decays: () => ['weight', x(2, 2)],
  // These bytes are no image: the function fails as for a broken file.
  decodeImage: () => [new Uint8Array(4), 'a file'],
  decodeSafetensors: () => [bytes, 'a file'],
  defaultDevice: () => [],
  defineOp: () => [{ name: 'twice', forward: (_: unknown, [t]: [api.Tensor]) => t.detach() }],
  describe: () => [device.summary],
  defineScheme: () => [{ name: 'own', make: () => ({ passes: [[objective]] }) }],
  defineStudy: () => [study],
  div: () => [x(2), x(2)],
  dropout: () => [x(2), 0.5],
  einsum: () => ['ij,jk->ik', x(2, 3), x(3, 2)],
  embedSequence: () => [x(2, 3, 4), x(1, 1, 4), x(1, 4, 4)],
  embedding: () => [x(3, 2), labels()],
  empty: () => [[2], 'float32', device],
  encodeSafetensors: () => [new Map([['a', entry()]]), { epoch: '3' }],
  evaluate: () => [model, loader, () => {}, 'serial'],
  exp: () => [x(2)],
  exportOnnx: () => [join(folder, 'x.onnx'), model, { branches: 1 }],
  // On two images no base is better than chance: the function refuses it when it has run on them.
  expand: () => [
    {
      ...{ device, shape: { channels: 1, height: 4, width: 4, mean: [0], std: [1] }, settings: settings(), mode: 'serial' },
      ...{ tasks: api.datasetTasks(source as never, source as never), base, add: 1, arms: ['expand'] },
    },
  ],
  expandModel: () => [base, { add: 1, classes: 3, init: 'zero' }],
  firstNonFinite: () => [() => void x(2).exp()],
  firstTokenAttention: () => [x(2, 3, 4), x(12, 4), 1],
  flatten: () => [x(2, 3), 0, 1],
  flip: () => [x(2, 3), [0]],
  fork: () => [device, 'serial', { a: () => x(2) }, { together: 1 }],
  fromHost: () => [() => Float32Array.of(1, 2), [2], device],
  full: () => [[2], 1, { dtype: 'float32' }],
  gather: () => [x(2, 3), 1, index()],
  gelu: () => [x(2), { approximate: 'tanh' }],
  grad: () => [(t: api.Tensor) => t.mul(t), x(2), { cotangent: ones([2]), createGraph: true }],
  groupNorm: () => [x(2, 4, 3), 2, x(4), x(4), 1e-5],
  // There are no such weights: the function fails as for a missing file.
  importViT: () => [join(folder, 'no.safetensors'), { classes: 2, device }],
  klDiv: () => [x(2), ones([2]), { reduction: 'batchMean' }],
  indexSelect: () => [x(2, 3), 1, labels()],
  layerNorm: () => [x(2, 3), x(3), x(3), 1e-5],
  linear: () => [x(2, 3), x(4, 3), x(4), { gelu: true }],
  listAdapters: () => [],
  // This folder holds no such data set: the function fails as for a missing file.
  loadDataset: () => ['cifar-10', { dir: folder }],
  // The files are none of NumPy's: the functions fail as for broken files.
  loadNpy: () => [path, { device }],
  loadNpz: () => [path, { device }],
  loadSafetensors: () => [path],
  log: () => [x(2)],
  logSoftmax: () => [x(2, 3), 1],
  logsumexp: () => [x(2, 3), [0, 1], { keepdim: true }],
  makeScheme: () => ['prefixSum', 2, { weights: [1, 1] }],
  maskedFill: () => [x(2), labels(), 3],
  matmul: () => [x(2, 3), x(3, 4)],
  max: () => [x(2, 3), 1, true],
  maxPool2d: () => [x(1, 2, 4, 4), [2, 2], { padding: 1 }],
  mean: () => [x(2, 3), 1, true],
  min: () => [x(2, 3), 1, true],
  mlp: () => [x(2, 3), x(4, 3), x(4), x(3, 4), x(3), x(2, 3)],
  mseLoss: () => [x(2), ones([2]), { reduction: 'none' }],
  mul: () => [x(2), x(2)],
  multinomial: () => [ones([2, 3]), 2, { replacement: true }],
  neg: () => [x(2)],
  noGrad: () => [() => 1],
  norm: () => [x(2, 3), 1, true],
  oneHot: () => [labels(), 3, { dtype: 'int32' }],
  ones: () => [[2], {}],
  openData: () => [api.checkSettings({ dataset: 'cifar-10', dataDir: folder })],
  openSafetensors: () => [path],
  optimizerStep: () => [model, optimizer, objective, [{ images: images(), labels: labels(), share: 1 }], 1e-3, 1],
  packedAttention: () => [x(2, 3, 12), 1],
  parameter: () => [() => ones([2])],
  parseConfig: () => [JSON.stringify(tiny)],
  permutedTasks: () => [source, 2, 1],
  permutation: () => [4, { device }],
  permute: () => [x(2, 3), [1, 0]],
  pow: () => [x(2), 2],
  predict: () => [model, { count: 2, slice: () => new Float32Array(32) }, { branches: 1 }, () => {}],
  prod: () => [x(2, 3), 1, true],
  rand: () => [[2], {}],
  randn: () => [[2], {}],
  readCheckpoint: () => [path],
  readImage: () => [path, 1, 4, 'crop'],
  readRun: () => [path, { ownModel: true }],
  reason: () => ['why'],
  recompute: () => [(t?: api.Tensor) => t?.mul(2), x(2)],
  relu: () => [x(2)],
  repeat: () => [x(2), [2, 1]],
  requestDevice: () => [{ adapter: 'no such adapter' }],
  requireFloat16: () => ['this', device],
  reshape: () => [x(2, 3), [3, -1]],
  rmsNorm: () => [x(2, 3), x(3), 1e-6],
  roll: () => [x(2, 3), [1], [0]],
  rotatedTasks: () => [source, 4],
  run: () => [doubling, { n: 2 }, [ones([2])], { variant: 'plain' }],
  saveNpy: () => [join(folder, 'x.npy'), x(2)],
  saveNpz: () => [join(folder, 'x.npz'), { a: x(2) }],
  saveSafetensors: () => [path, { a: entry() }, { epoch: '3' }],
  scaledDotProductAttention: () => [x(1, 1, 2, 4), x(1, 1, 3, 4), x(1, 1, 3, 4), { causal: true, dropout: 0.5 }],
  scatter: () => [x(2, 3), 1, index(), 2],
  scatterAdd: () => [x(2, 3), 1, index(), x(2, 1)],
  schedule: () => ['cosine', { lr: 1, warmup: 1, total: 10 }],
  scope: () => [() => 1],
  setDefaultDevice: () => [device],
  sigmoid: () => [x(2)],
  slice: () => [x(2, 3), [[0, 1], []]],
  softmax: () => [x(2, 3), 1],
  // The function refuses a ViT before it opens a device.
  distributeBranches: () => [vit, { others: [{}], inProcess: true }],
  sort: () => [x(2, 3), 1, { descending: true }],
  split: () => [x(4), [1, 3], 0],
  sqrt: () => [x(2)],
  squeeze: () => [x(1, 3), 0],
  stack: () => [[x(2), x(2)], 0],
  startTrainer: () => [device, settings(), data(), { saveEvery: 1 }, undefined],
  std: () => [x(2, 3), 1, { correction: 0 }],
  sub: () => [x(2), x(2)],
  sum: () => [x(2, 3), [0, 1], true],
  tanh: () => [x(2)],
  tensor: () => [[1, 2], { dtype: 'int32' }],
  tile: () => [x(2), [2]],
  to: () => [x(2), other],
  toFloat32: () => [entry()],
  topk: () => [x(2, 3), 2, 1, { largest: false }],
  transpose: () => [x(2, 3), 0, 1],
  tril: () => [x(2, 3), 1],
  triu: () => [x(2, 3), 1],
  tuneDevice: () => [other, 'off', () => {}, { budget: 1 }],
  unsqueeze: () => [x(2, 3), 1],
  variance: () => [x(2, 3), 1, { correction: 0 }],
  watchOps: () => [() => {}, () => 1],
  where: () => [x(2), x(2), 0],
  withParametersOf: () => [{ mlpDim: 8 }, { dim: 8 }],
  withoutScope: () => [() => 1],
  zeros: () => [[2], {}],
}

export const CONSTRUCTORS: Record<string, Arguments> = {
  Attention: () => [4, 2, 2],
  AvgPool2d: () => [2, { stride: 1 }],
  BatchNorm2d: () => [4, { momentum: 0.2 }],
  Conv2d: () => [4, 2, 3, { padding: 1 }],
  Dropout: () => [0.5],
  Ema: () => [named(), { decay: 0.9 }],
  Embedding: () => [4, 2],
  EncoderLayer: () => [model.config],
  GroupNorm: () => [2, 4, 1e-3],
  LayerNorm: () => [4, 1e-3],
  Linear: () => [4, 2, { bias: false }],
  Lion: () => [named(), { betas: [0.9, 0.99] }],
  MaxPool2d: () => [2, { stride: 1 }],
  Mlp: () => [4, 8],
  Muon: () => [named(), { momentum: 0.9 }],
  RmsNorm: () => [4, 1e-3],
  Sequential: () => [new api.Linear(4, 2), api.relu],
  Sgd: () => [named(), { momentum: 0.9 }],
  AdamW: () => [new api.ParaFormer(tiny).namedParameters(), { weightDecay: 0 }],
  BatchLoader: () => [{ ...source, mean: [0], std: [1] }, pixels, { batchSize: 2, seed: 1 }],
  LossScale: () => [{ initial: 2 }],
  ParaFormer: () => [tiny, { own: [0] }],
  Profiler: () => [device.gpu],
  Tracing: () => [device],
  Ensemble: () => [{ ...shared, members: 2, depth: 1 }],
  ViT: () => [{ ...shared, depth: 1 }],
}

/** Classes that users do not construct: their constructors take only values that this package makes. */
export const MADE_INSIDE = ['BranchDevices', 'Device', 'DeviceStore', 'Module', 'Tensor', 'Trainer']

/** Makes an object of each class, with valid arguments of its methods that are not in `FUNCTIONS` too. */
export const METHODS: Record<string, { make: () => object; methods: Record<string, Arguments> }> = {
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
      outputs: () => [images(), {}],
      train: () => [false],
      loadStateDict: () => [model.stateDict()],
    },
  },
  ViT: {
    make: () => vit,
    methods: {
      forward: () => [images(), {}],
      forwardLayers: () => [images()],
      features: () => [images(), {}],
      train: () => [false],
      loadStateDict: () => [vit.stateDict()],
    },
  },
  Ensemble: {
    make: () => ensemble,
    methods: {
      forward: () => [images(), { branches: 1 }],
      forwardPrefixes: () => [images(), {}],
      memberLogits: () => [images(), {}],
      features: () => [images(), {}],
      train: () => [false],
      loadStateDict: () => [ensemble.stateDict()],
    },
  },
  AdamW: { make: () => optimizer, methods: stepsOf(optimizer) },
  Sgd: { make: () => optimizers.Sgd, methods: stepsOf(optimizers.Sgd) },
  Lion: { make: () => optimizers.Lion, methods: stepsOf(optimizers.Lion) },
  Muon: { make: () => optimizers.Muon, methods: stepsOf(optimizers.Muon) },
  Ema: { make: () => ema, methods: { evaluate: () => [() => 1], loadStateDict: () => [ema.stateDict()] } },
  LossScale: { make: () => optimizer.lossScale, methods: { restore: () => [{ scale: 1, steady: 0 }] } },
  BranchDevices: {
    make: () => distributed,
    methods: {
      updates: () => [batch(), [{ objective, lr: 1e-3 }], { microBatches: 1 }],
      infer: () => [new Float32Array(32), 2, { branches: 2, eachBranch: false }, () => 1],
      gradients: () => [batch(), 2, 2],
    },
  },
}

/** Valid arguments of the methods of an optimizer. */
function stepsOf(of: api.Optimizer): Record<string, Arguments> {
  return { step: () => [1e-3, 1], setSteps: () => [{}], loadStateDict: () => [of.stateDict()] }
}

/** The methods of every optimizer that take no arguments, or are for the package's own use. */
const OPTIMIZER = ['gradNorm', 'zeroGrad', 'gather', 'flat', 'dispose', 'moments', 'state', 'stateDict', 'steps']

/** Methods that take no arguments, or are for the package's own use. */
export const INSIDE: Record<string, readonly string[]> = {
  Tensor: ['isContiguous', 'contiguous', 'dispose', 'toString', 'toJSON', 'rebind', 'joinScopeOf', 'adopt'],
  ParaFormer: [
    'classify',
    'prefixOutputs',
    'runBranches',
    'sequence',
    'branchOutput',
    'pool',
    'namedChildren',
    'namedParameters',
    'namedBuffers',
    'parameters',
    'eval',
    'stateDict',
    'dispose',
  ],
  Ensemble: [
    'classify',
    'logits',
    'run',
    'namedChildren',
    'namedParameters',
    'namedBuffers',
    'parameters',
    'eval',
    'stateDict',
    'dispose',
  ],
  ViT: [
    'classify',
    'runBranches',
    'sequence',
    'branchOutput',
    'pool',
    'namedChildren',
    'namedParameters',
    'namedBuffers',
    'parameters',
    'eval',
    'stateDict',
    'dispose',
  ],
  AdamW: OPTIMIZER,
  Sgd: OPTIMIZER,
  Lion: OPTIMIZER,
  Muon: OPTIMIZER,
  Ema: ['update', 'swap', 'stateDict', 'dispose'],
  LossScale: ['copy', 'save', 'dispose'],
  BranchDevices: ['state', 'startTrace', 'endTrace', 'hurry', 'close'],
}
