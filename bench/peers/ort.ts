import { type OnnxConstant, type OnnxNode, type OnnxValue, onnxPieces } from '../../train/exchange/onnxFile.ts'
import { causalMask, type Operand } from '../operands.ts'
import type { Workload } from '../workloads.ts'
import { NotOffered, type OpenPeer, type PeerRun } from './peer.ts'

const PACKAGE = 'onnxruntime-web/webgpu'

/** Opens onnxruntime-web on its WebGPU execution provider; operands and results stay on the device. */
export const openOrt: OpenPeer = async () => {
  const ort = await import(PACKAGE)
  // Threads would need workers that share memory, and the device does the work anyway.
  ort.env.wasm.numThreads = 1
  ort.env.logLevel = 'error'
  const scalar = (name: string): OnnxValue => ({ name, shape: [1] })
  const first = onnxModel([{ op: 'Neg', inputs: ['x'], outputs: ['y'] }], [scalar('x')], [scalar('y')])
  // The first session opens the device, which lives as long as any session.
  const keep = await open(ort, first)
  const device: GPUDevice = await ort.env.webgpu.device
  return {
    name: 'onnxruntime-web',
    device,
    keep,
    prepare: (w, operands) => prepare(ort, device, w, operands),
  }
}

/** The bytes of a graph with the operators of opset 20. */
function onnxModel(nodes: OnnxNode[], inputs: OnnxValue[], outputs: OnnxValue[], constants: OnnxConstant[] = []): Uint8Array {
  return Uint8Array.from(onnxPieces({ nodes, inputs, outputs, constants }, { opset: 20 }).flatMap((piece) => [...piece]))
}

function open(ort: any, model: Uint8Array): Promise<any> {
  return ort.InferenceSession.create(model, { executionProviders: ['webgpu'], preferredOutputLocation: 'gpu-buffer' })
}

interface Graph {
  nodes: OnnxNode[]
  inputs: OnnxValue[]
  output: OnnxValue
  constants?: OnnxConstant[]
}

/** Makes the graph of an op. @throws NotOffered for steps */
function graphOf(w: Workload, operands: Record<string, Operand>): Graph {
  const node = (op: string, inputs: string[], more: Partial<OnnxNode> = {}): OnnxNode => ({
    op,
    inputs,
    outputs: ['out'],
    ...more,
  })
  switch (w.kind) {
    case 'matmul': {
      const stacked = (rows: number, columns: number) => (w.batch > 1 ? [w.batch, rows, columns] : [rows, columns])
      const inputs = [
        { name: 'a', shape: w.form === 'TN' ? stacked(w.k, w.m) : stacked(w.m, w.k) },
        { name: 'b', shape: w.form === 'NT' ? stacked(w.n, w.k) : stacked(w.k, w.n) },
      ]
      const transposed = { attributes: { transA: Number(w.form === 'TN'), transB: Number(w.form === 'NT') } }
      const product = w.form === 'NN' ? node('MatMul', ['a', 'b']) : node('Gemm', ['a', 'b'], transposed)
      return { nodes: [product], inputs, output: { name: 'out', shape: stacked(w.m, w.n) } }
    }
    case 'softmax': {
      const shape = [w.rows, w.n]
      const softmax = node('Softmax', ['x'], { attributes: { axis: 1 } })
      return { nodes: [softmax], inputs: [{ name: 'x', shape }], output: { name: 'out', shape } }
    }
    case 'layerNorm': {
      const shape = [w.rows, w.n]
      const names = ['x', 'norm.weight', 'norm.bias']
      const inputs = names.map((name, i) => ({ name, shape: i === 0 ? shape : [w.n] }))
      const norm = node('LayerNormalization', names, { attributes: { axis: 1, epsilon: { float: 1e-5 } } })
      return { nodes: [norm], inputs, output: { name: 'out', shape } }
    }
    case 'attention': {
      // The library's fused MultiHeadAttention is wrong on software devices, by 4 % on lavapipe and 86 % on SwiftShader.
      const shape = [w.batch, w.heads, w.tokens, w.width]
      const inputs = ['q', 'k', 'v'].map((name) => ({ name, shape }))
      const nodes = [
        node('Transpose', ['k'], { outputs: ['kT'], attributes: { perm: [0, 1, 3, 2] } }),
        node('MatMul', ['q', 'kT'], { outputs: ['products'] }),
        node('Mul', ['products', 'scale'], { outputs: ['scores'] }),
        ...(w.causal ? [node('Add', ['scores', 'mask'], { outputs: ['seen'] })] : []),
        node('Softmax', [w.causal ? 'seen' : 'scores'], { outputs: ['weights'], attributes: { axis: 3 } }),
        node('MatMul', ['weights', 'v']),
      ]
      const masks = w.causal ? [{ name: 'mask', shape: [w.tokens, w.tokens] }] : []
      return { nodes, inputs: [...inputs, { name: 'scale', shape: [1] }, ...masks], output: { name: 'out', shape } }
    }
    case 'maskedSoftmax': {
      const shape = [w.batch, w.heads, w.tokens, w.tokens]
      const nodes = [node('Add', ['x', 'mask'], { outputs: ['seen'] }), node('Softmax', ['seen'], { attributes: { axis: 3 } })]
      const inputs = [
        { name: 'x', shape },
        { name: 'mask', shape: [w.tokens, w.tokens] },
      ]
      return { nodes, inputs, output: { name: 'out', shape } }
    }
    case 'einsum': {
      const inputs = ['q', 'k'].map((name) => ({ name, shape: [w.batch, w.heads, w.tokens, w.width] }))
      const product = node('Einsum', ['q', 'k'], { attributes: { equation: { text: 'bhtd,bhsd->bhts' } } })
      return { nodes: [product], inputs, output: { name: 'out', shape: [w.batch, w.heads, w.tokens, w.tokens] } }
    }
    case 'topk':
    case 'sort': {
      const sorts = w.kind === 'sort'
      const k = sorts ? w.n : w.k
      return {
        nodes: [node('TopK', ['x', 'k'], { outputs: ['out', 'indices'], attributes: { axis: 1, largest: sorts ? 0 : 1 } })],
        inputs: [{ name: 'x', shape: [w.rows, w.n] }],
        output: { name: 'out', shape: [w.rows, k] },
        constants: [{ name: 'k', shape: [1], data: BigInt64Array.of(BigInt(k)) }],
      }
    }
    case 'scatterAdd': {
      const inputs = [
        { name: 'x', shape: [w.rows, w.width] },
        { name: 'src', shape: [w.count, w.width] },
      ]
      const index = BigInt64Array.from(operands.index!.data, BigInt)
      return {
        nodes: [node('ScatterND', ['x', 'index', 'src'], { attributes: { reduction: { text: 'add' } } })],
        inputs,
        output: { name: 'out', shape: [w.rows, w.width] },
        constants: [{ name: 'index', shape: [w.count, 1], data: index }],
      }
    }
    case 'conv2d': {
      const shape = [w.batch, w.channels, w.size, w.size]
      const inputs = [
        { name: 'x', shape },
        { name: 'conv.weight', shape: [w.channels, w.channels, 3, 3] },
        { name: 'conv.bias', shape: [w.channels] },
      ]
      const convolution = node(
        'Conv',
        inputs.map(({ name }) => name),
        { attributes: { pads: [1, 1, 1, 1] } },
      )
      return { nodes: [convolution], inputs, output: { name: 'out', shape } }
    }
    case 'add': {
      const inputs = ['a', 'b'].map((name) => ({ name, shape: [w.n] }))
      return { nodes: [node('Add', ['a', 'b'])], inputs, output: { name: 'out', shape: [w.n] } }
    }
    case 'addChain':
    case 'mulChain':
      throw new NotOffered('onnxruntime-web runs whole graphs, no single ops')
    default:
      throw new NotOffered('onnxruntime-web does not train')
  }
}

async function prepare(ort: any, device: GPUDevice, w: Workload, operands: Record<string, Operand>): Promise<PeerRun> {
  const { nodes, inputs, output, constants } = graphOf(w, operands)
  const session = await open(ort, onnxModel(nodes, inputs, [output], constants))
  const buffers: GPUBuffer[] = []
  const feeds: Record<string, unknown> = {}
  for (const { name, shape } of inputs) {
    const { data } = operands[name] ?? (name === 'mask' ? maskOf(w) : scaleOf(w))
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC
    // The library takes only buffers of whole vec4s.
    const buffer = device.createBuffer({ size: Math.ceil(data.byteLength / 16) * 16, usage })
    device.queue.writeBuffer(buffer, 0, data)
    buffers.push(buffer)
    feeds[name] = ort.Tensor.fromGpuBuffer(buffer, { dataType: 'float32', dims: [...shape] })
  }
  const call = async () => (await session.run(feeds)).out
  let last: any
  return {
    async run() {
      last?.dispose()
      last = await call()
    },
    last: () => last.getData(),
    done: () => device.queue.onSubmittedWorkDone().then(() => {}),
    values: async () => ({ out: await (await call()).getData(true) }),
    dispose() {
      last?.dispose()
      for (const buffer of buffers) buffer.destroy()
      session.release()
    },
  }
}

/** Returns the factor of attention's scores, which the graph takes as an operand. */
function scaleOf(w: Workload): Operand {
  if (w.kind !== 'attention') throw new Error(`${w.kind} has no scale`)
  return { shape: [1], data: Float32Array.of(w.width ** -0.5) }
}

/** Returns the mask of causal attention, which the graph takes as an operand. */
function maskOf(w: Workload): Operand {
  if (w.kind !== 'attention') throw new Error(`${w.kind} has no mask`)
  return { shape: [w.tokens, w.tokens], data: causalMask(w.tokens) }
}
