import * as api from '../../train/index.ts'
import { type Arguments, device, other } from './publicCalls.ts'

const { tensor, ones } = api

/** Functions that open adapters even with additional arguments, which takes long. */
const OPENS = ['requestDevice', 'listAdapters']

const KINDS = ['AdamW', 'Sgd', 'Lion', 'Muon', 'Ema']

/** Other names that a function's messages may begin with. */
const SPEAKERS: Record<string, string[]> = {
  // Junk in their settings is told by what checks them.
  openData: ['checkSettings', 'loadDataset'],
  evaluate: ['inference', 'capture', 'Ema.evaluate'],
  parameter: ['scope', 'noGrad', 'withoutScope'],
  optimizerStep: ['forward', 'model', 'crossEntropy', 'AdamW', 'AdamW.step'],
  loadStateDict: KINDS.map((kind) => `${kind}.loadStateDict`),
  buffer: ['scope', 'noGrad', 'withoutScope'],
  restore: ['LossScale.restore'],
  setSteps: KINDS.map((kind) => `${kind}.setSteps`),
  step: KINDS.flatMap((kind) => [kind, `${kind}.step`]),
  captureStep: ['capture'],
  saveSafetensors: ['data'],
  forward: ['model'],
  features: ['model'],
  forwardPrefixes: ['model'],
  branchOutputs: ['model'],
  outputs: ['model'],
  memberLogits: ['model'],
  withParametersOf: ['checkSettings'],
  forwardLayers: ['model'],
  // These functions run the caller's function in a scope.
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
    ].map((junk): [string, unknown] => [
      Array.isArray(junk) ? `[${junk.map(String)}]` : typeof junk === 'string' ? `"${junk}"` : String(junk),
      junk,
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

/** Values for an additional argument after the last one. */
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

/** Says what is wrong with an error; undefined if nothing is. */
function fault(name: string, error: unknown): string | undefined {
  if (!(error instanceof Error)) return `threw ${String(error)}`
  const said = `${error.name}: ${error.message.slice(0, 300)}`
  if (!OURS.some((kind) => error instanceof kind)) return `threw ${said}`
  if (/[\r\n]/.test(error.message)) return `more than one line: ${said}`
  const speakers = [name, ...(SPEAKERS[name] ?? [])]
  if (error instanceof api.ArgumentError && !speakers.some((speaker) => error.message.startsWith(`${speaker}: `)))
    return `does not name ${name}: ${said}`
  return undefined
}

/** Waits for a promise, or for a list of promises. */
function settled(result: unknown): unknown {
  return Array.isArray(result) ? Promise.all(result) : result
}

/**
 * Calls `fn` with junk for each argument, with too few arguments and with too many.
 * @returns a line for each call that goes wrong
 */
export async function misuse(name: string, args: Arguments, fn: (...values: unknown[]) => unknown): Promise<string[]> {
  const faults: string[] = []
  const attempt = async (what: string, values: unknown[]) => {
    let result: unknown
    try {
      api.scope(() => {
        result = fn(...values)
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
  // The last turn gives an additional argument.
  const { length } = args()
  for (let i = 0; i < length + (OPENS.includes(name) ? 0 : 1); i++) {
    for (const [what, value] of i < length ? junk() : BEHIND) {
      const values = args()
      values[i] = value
      await attempt(`${what} at ${i}`, values)
    }
  }
  return faults
}
