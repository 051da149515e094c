import {
  type Captured,
  capture,
  colocate,
  type Device,
  defaultDevice,
  Profiler,
  scope,
  stack,
  type Tensor,
  tensor,
} from '../../engine/index.ts'
import { AdamW } from '../../train/optim/adamW.ts'
import { testRandom } from './kernel.ts'
import { randomProgram } from './randomProgram.ts'
import { type Inputs, VOCABULARY, type Weights, WIDTH, type World } from './randomSteps.ts'

/** How the programs of a seed run. */
export interface Run {
  mode: World['mode']
  captured: boolean
}

/** All values that a run read, with their names, in order. */
export interface Trace {
  names: string[]
  values: Float32Array[]
}

const TOKENS = 3
const CALLS = 7

/** The end of a call's gradients: the call returns them, steps AdamW with them, or keeps them to add to. */
const POLICIES = ['returned', 'stepped', 'kept'] as const

/** Whether the products of a seed's programs compute in float16. */
export function isHalf(seed: number, on: Device): boolean {
  return seed % 4 === 3 && on.capabilities.f16
}

function makeWorld(on: Device, mode: World['mode'], seed: number) {
  const random = testRandom(seed)
  const leaf = (...shape: number[]) => {
    const size = shape.reduce((product, dim) => product * dim, 1)
    const data = Float32Array.from({ length: size }, () => random() - 0.5)
    return tensor(data, { shape, requiresGrad: true })
  }
  const weights = (): Weights => ({
    square: leaf(WIDTH, WIDTH),
    bias: leaf(WIDTH),
    scale: leaf(WIDTH),
    qkv: leaf(3 * WIDTH, WIDTH),
    note: tensor(new Float32Array(WIDTH).fill(0.5)),
  })
  const branches = Array.from({ length: 4 }, weights)
  const [shared, table] = [weights(), leaf(VOCABULARY, WIDTH)]
  const notes = [...branches, shared].map(({ note }) => note)
  const parametersOf = ({ square, bias, scale, qkv }: Weights) => [square, bias, scale, qkv]
  const inBranches = branches.flatMap(parametersOf)
  let asked = 0
  // The same array is filled at every call, as hosts do.
  const hostValue = new Float32Array(1)
  const ask = () => hostValue.fill(1 / (1 + (asked++ % 7)))
  const world: World = { device: on, mode, half: isHalf(seed, on), branches, shared, table, fromHost: ask }
  return { world, inBranches, leaves: [...inBranches, ...parametersOf(shared), table], notes }
}

/** Makes the inputs of one call, as contiguous tensors or as views. */
function makeInputs(random: () => number): Inputs {
  // Some sums of the largest size take two dispatches.
  const n = [2, 3, 90][Math.floor(random() * 2.4)]!
  const numbers = (...shape: number[]) => {
    const size = shape.reduce((product, dim) => product * dim, 1)
    return tensor(
      Float32Array.from({ length: size }, () => random() * 2 - 1),
      { shape },
    )
  }
  const whole = (count: number, below: number) => Int32Array.from({ length: count }, () => Math.floor(random() * below))
  const box = [
    [1, n + 1],
    [1, 1 + TOKENS],
    [0, WIDTH],
  ] as const
  const kinds = [
    () => numbers(n, TOKENS, WIDTH),
    () => numbers(WIDTH, TOKENS, n).transpose(0, 2),
    () => numbers(n + 1, 5, WIDTH + 1).slice(box),
  ]
  return {
    x: scope(kinds[Math.floor(random() * kinds.length)]!),
    ids: scope(() => tensor(whole(2 * n * TOKENS, VOCABULARY), { shape: [2 * n, TOKENS] }).slice([[n, 2 * n]])),
    labels: tensor(whole(n, WIDTH)),
  }
}

/** Runs the two programs of a seed in turn on the default device, with other events between the calls, and reads all values. */
export async function followCalls(seed: number, { mode, captured }: Run): Promise<Trace> {
  const random = testRandom(1000 + seed)
  const device = defaultDevice()
  const { world, inBranches, leaves, notes } = makeWorld(device, mode, seed)
  const policy = POLICIES[seed % 3]!
  // Either all parameters lie in an arena, or those of branches lie side by side.
  const named = leaves.map((t, i) => [`p${i}`, t] as const)
  const optimizer = policy !== 'returned' || seed % 2 === 0 ? new AdamW(named, { eps: 0.05 }) : undefined
  if (!optimizer) colocate(inBranches)
  if (policy === 'kept')
    scope(() => stack(leaves.map((t) => t.sum())).backward(tensor(new Float32Array(leaves.length).fill(1))))
  device.random.seed = seed

  const trace: Trace = { names: [], values: [] }
  const reads: Promise<void>[] = []
  const read = (name: string, t: Tensor) => {
    const at = trace.names.push(name) - 1
    const reading = t.data().then((data) => {
      trace.values[at] = Float32Array.from(data)
    })
    // Failures surface where all reads are awaited.
    reading.catch(() => {})
    reads.push(reading)
  }

  const makeCall = (program: ReturnType<typeof randomProgram>) => (x: Tensor, ids: Tensor, labels: Tensor) => {
    const { values, losses } = program({ x, ids, labels })
    const parts = losses.map((loss, i) => (i % 2 === 0 ? loss.mul(loss).mean() : loss.mean()))
    const objective = parts.length > 0 ? [stack(parts)] : []
    for (const loss of objective) loss.backward(loss.detach())
    const gradients: Tensor[] = []
    for (const t of leaves) {
      if (policy !== 'returned' || !t.grad) continue
      gradients.push(t.grad.detach())
      t.grad.dispose()
      t.grad = undefined
    }
    const norm = policy === 'stepped' ? [optimizer!.step(optimizer!.lr, 1)] : []
    if (policy === 'stepped') optimizer!.zeroGrad()
    return { values, gradients, objective, norm }
  }
  type Call = ReturnType<typeof makeCall>
  const calls = [0, 1].map((i) => makeCall(randomProgram(2 * seed + i, world)))
  const captures: Captured<Parameters<Call>, ReturnType<Call>>[] = captured ? calls.map((call) => capture(call)) : []

  /** Events between two calls; a random number chooses one, or none. */
  const events: ((which: number) => unknown)[] = [
    () => device.trim(),
    (which) => captures[which]?.dispose(),
    () => world.shared.note.write(new Float32Array(WIDTH).fill(random())),
    () => world.shared.bias.write(Float32Array.from({ length: WIDTH }, random)),
    () => Promise.all(reads),
    () => scope(() => read('eager work', world.shared.square.matmul(world.table.transpose(0, 1)).gelu())),
    () => device.flush(),
    () => device.synchronize(),
    () => {
      if (device.gpu.features.has('timestamp-query')) device.profiler = new Profiler(device.gpu)
    },
    (which) => {
      const { x, ids, labels } = makeInputs(testRandom(which))
      for (const t of [x, ids, labels]) t.dispose()
      mustThrow(() => captures[which]?.(x, ids, labels))
    },
    () => {
      const failing = capture((t: Tensor) => {
        t.mul(2)
        throw new Error('failing')
      })
      mustThrow(() => failing(world.table))
    },
    () => {
      const passing = capture((t: Tensor) => t.exp().softmax(0))
      const result = passing(world.table)
      passing.dispose()
      read('another capture', result)
      result.dispose()
    },
  ]
  let carried: Tensor | undefined
  for (let i = 0; i < CALLS; i++) {
    const which = Math.floor(random() * 2)
    const inputs = makeInputs(testRandom(Math.floor(random() * 6)))
    // A value that a call returned may be the input of the next call.
    const x = carried && `${carried.shape}` === `${inputs.x.shape}` ? carried : inputs.x
    if (optimizer) optimizer.lr = 0.01 * random()
    const { values, ...others } = captured
      ? captures[which]!(x, inputs.ids, inputs.labels)
      : scope(() => calls[which]!(x.contiguous(), inputs.ids.contiguous(), inputs.labels))
    for (const [name, list] of Object.entries({ values, ...others }))
      for (const [j, t] of list.entries()) read(`call ${i} (program ${which}): ${name} ${j}`, t)
    const before = carried
    const fitting = values.filter((t) => t.ndim === 3 && t.shape[1] === TOKENS && t.shape[2] === WIDTH)
    carried = random() < 0.5 ? fitting[Math.floor(random() * fitting.length)]?.detach() : undefined
    for (const t of [...values, ...Object.values(others).flat(), before]) t?.dispose()
    await events[Math.floor(random() * 1.3 * events.length)]?.(which)
    for (const t of Object.values(inputs)) t.dispose()
    trace.values[trace.names.push(`random counter after call ${i}`) - 1] = Float32Array.of(device.random.counter)
  }
  for (const [i, t] of leaves.entries()) read(`parameter ${i}`, t)
  for (const [i, t] of leaves.entries()) if (t.grad) read(`gradient ${i}`, t.grad)
  for (const [i, t] of notes.entries()) read(`note ${i}`, t)
  await Promise.all(reads)
  await device.profiler?.collect()
  device.profiler = undefined
  for (const held of [...captures, optimizer, carried, ...leaves.map(({ grad }) => grad), ...leaves, ...notes]) held?.dispose()
  return trace
}

/** Fails when a call returns a value instead of throwing. */
function mustThrow(call: () => unknown): void {
  let result: unknown
  try {
    result = call()
  } catch {
    return
  }
  if (result !== undefined) throw new Error('a call that cannot work did')
}
