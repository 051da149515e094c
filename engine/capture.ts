import { withOwnCopies } from './autograd/autocast.ts'
import { checkFunction, refusal } from './base/checks.ts'
import { ArgumentError, ShapeError } from './base/errors.ts'
import { replace, walk } from './base/pytree.ts'
import { CapturedGradients } from './capturedGradients.ts'
import { checkDevice, type Device, defaultDevice } from './device/device.ts'
import { eliminateDeadCode } from './graph/deadCode.ts'
import { ExecutableGraph, earlyWrites } from './graph/executable.ts'
import { accessesOf, type Graph, type GraphCommand } from './graph/graph.ts'
import { longestChain } from './graph/hazards.ts'
import { fuseHorizontally } from './graph/horizontalFusion.ts'
import { planMemory } from './graph/memoryPlan.ts'
import { ITEM_BYTES } from './layout/dtype.ts'
import { checkShape, format, sizeOf } from './layout/shape.ts'
import { isPlanned } from './memory/plannedMemory.ts'
import type { Changeable } from './memory/version.ts'
import { copyInto } from './tensor/copies.ts'
import { scope, withoutScope } from './tensor/scope.ts'
import { empty, Tensor } from './tensor/tensor.ts'

/** What a capture made of a function for inputs of one set of shapes. */
export interface CaptureStatistics {
  /** Dispatches recorded whose results are used, and dispatches of a replay, which are fewer where branches were coalesced. */
  recorded: number
  dispatches: number
  /** Floating-point operations of a replay, by the cost models of its kernels (a multiply-add counts two). */
  readonly flops: number
  /** Bytes of memory for intermediate values and results; the least that any plan needs; and with a buffer for each value. */
  bytes: number
  bound: number
  unplanned: number
  /** Of the longest chain of recorded dispatches, each of which must follow the one before. */
  readonly chain: number
}

/** A function whose work on the device is recorded once for each set of input shapes, then replayed. */
export interface Captured<I extends readonly Tensor[], R> {
  (...inputs: I): R
  /** One entry for each recording. */
  readonly statistics: readonly CaptureStatistics[]
  /** Frees the memory of all recordings, but for that of results that were not disposed. */
  dispose(): void
}

interface CapturedRecording<R> {
  /** The dtypes and shapes of its inputs. */
  key: string
  device: Device
  program: ExecutableGraph
  inputs: readonly Tensor[]
  result: R
  /** Tensors made outside that it uses. */
  outsiders: readonly Changeable[]
  /** Memory that every replay changes, of tensors made outside and of results. */
  changes: readonly Changeable[]
  gradients: CapturedGradients
  statistics: CaptureStatistics
  dispose(): void
}

/** Recordings kept; the one not used for longest goes first. */
const RECORDINGS = 16

/**
 * Records what `fn` does on the device at its first call, plans its memory over the whole of it, and replays that at every
 * later call with inputs of the same shapes: no op runs on the host again, nothing is allocated, and the bits are those of
 * calling `fn` with contiguous inputs. Random ops draw anew in every replay, and tensors of `fromHost` are computed anew.
 * Gradients are set, added to and cleared as `fn` does; where another set of leaves has gradients than before, it is recorded once more.
 * Those of no arena lie in memory that replays share, as results do. Anything else that `fn` does on the host happens once. Other shapes
 * are recorded as they come. What computes nothing that is returned, kept or written to memory made outside is left out.
 * @param fn of tensors to tensors, or lists, Maps, Sets or objects of them. Inputs are seen as constants (no gradient flows to them), the
 *   results are off the tape. It must not read values. Tensors made outside that it uses must keep their memory
 * @returns the function to call instead. Its results share memory from call to call: read or copy them before the next call
 *   overwrites them (`data()` called before is in time). Disposing them is allowed and frees nothing
 * @throws ArgumentError when `fn` is no function, and from a call for what is no live tensor of the device of what was recorded; Error from
 *   a call when `fn` reads values, captures or is async, or when nothing at all that it computes is used
 */
export function capture<I extends readonly Tensor[], R>(fn: (...inputs: I) => R): Captured<I, R> {
  checkFunction('capture', fn)
  /** The one used last at the end. */
  let recordings: CapturedRecording<R>[] = []
  const label = nameOf(fn)
  const call = (...inputs: I): R => {
    checkInputs(inputs)
    const key = inputs.map(({ dtype, shape }) => `${dtype} ${format(shape)}`).join()
    const sameShapes = recordings.filter((one) => one.key === key)
    if ((sameShapes[0]?.device ?? deviceOf(inputs)).recording) throw new Error('capture: cannot be used inside another capture')
    // A parameter or its gradient lies elsewhere since, in the arena of an optimizer: what was recorded would go on with its old memory.
    for (const one of sameShapes) if (one.gradients.spent || one.outsiders.some(({ moved }) => moved)) forget(one)
    let recording = recordings.findLast((one) => one.key === key && one.gradients.agree)
    if (recording) {
      load(recording.inputs, inputs)
      recording.program.refresh()
      for (const version of recording.changes) version.change(label)
      recording.gradients.leave()
    } else {
      recording = record(fn, inputs, key)
      while (recordings.length >= RECORDINGS) forget(recordings[0]!)
    }
    if (recordings.at(-1) !== recording) recordings = [...recordings.filter((one) => one !== recording), recording]
    recording.device.run(recording.program, label)
    return replace(recording.result, isTensor, (t) => t.detach())
  }
  const forget = (recording: CapturedRecording<R>) => {
    recording.dispose()
    recordings = recordings.filter((one) => one !== recording)
  }
  const dispose = () => {
    for (const recording of recordings) forget(recording)
  }
  return Object.defineProperties(call, {
    statistics: { get: () => recordings.map(({ statistics }) => statistics) },
    dispose: { value: dispose },
  }) as Captured<I, R>
}

/**
 * A tensor of values that the host computes: once, and inside a capture once more before every replay. How learning rates and
 * step counts reach a captured step.
 * @param compute gives the values, always as many
 * @param shape default one dim
 * @throws ArgumentError when `compute` is no function, or gives no Float32Array or Int32Array; ShapeError when its values do not fill the
 *   shape
 */
export function fromHost(
  compute: () => Float32Array | Int32Array,
  shape?: readonly number[],
  device = defaultDevice(),
): Tensor {
  checkFunction('fromHost', compute)
  checkDevice('fromHost', device)
  const data = compute()
  if (!(data instanceof Float32Array || data instanceof Int32Array)) {
    throw refusal('fromHost', data, 'a Float32Array or Int32Array', 'what compute() gives')
  }
  const dims = shape ?? [data.length]
  checkShape('fromHost', dims)
  if (sizeOf(dims) !== data.length) {
    throw new ShapeError(`fromHost: ${data.length} values do not fill shape ${format(dims)}`)
  }
  const t = empty(dims, data instanceof Float32Array ? 'float32' : 'int32', device)
  t.write(data, compute)
  return t
}

/** @throws ArgumentError for what is no tensor */
function checkInputs(inputs: readonly unknown[]): void {
  for (let i = 0; i < inputs.length; i++) {
    if (!(inputs[i] instanceof Tensor))
      throw refusal('capture', inputs[i], 'a tensor; other values are fixed inside', `input ${i}`)
  }
}

function deviceOf(inputs: readonly Tensor[]): Device {
  return inputs[0]?.device ?? defaultDevice()
}

/**
 * Copies the inputs of a call to where the recording reads them.
 * @throws ArgumentError for an input that was disposed, or of another device
 */
function load(held: readonly Tensor[], inputs: readonly Tensor[]): void {
  inputs.forEach((source, i) => {
    const input = `capture: input ${i} of shape ${format(source.shape)}`
    if (source.disposed) throw new ArgumentError(`${input} was used after it was disposed`)
    if (source.device !== held[i]!.device) throw new ArgumentError(`${input} is not on the device of what was recorded`)
  })
  // A function may have returned its inputs: what lies where they are loaded to is set aside first.
  const places = new Set(held.map(({ storage }) => storage))
  const aside = withoutScope(() => inputs.map((source) => (places.has(source.storage) ? copyOf(source) : undefined)))
  for (const [i, target] of held.entries()) loadOne(aside[i] ?? inputs[i]!, target)
  for (const copy of aside) copy?.dispose()
}

function copyOf(source: Tensor): Tensor {
  const copy = empty(source.shape, source.dtype, source.device)
  copyInto(source, copy)
  return copy
}

function loadOne(source: Tensor, target: Tensor): void {
  const bytes = ITEM_BYTES[source.dtype]
  const range = ({ storage, offset }: Tensor) => ({ buffer: storage.buffer, offset: offset * bytes })
  // Copies of the device move whole words.
  const words = [source.offset, source.size].every((count) => (count * bytes) % 4 === 0)
  if (source.isContiguous() && words) {
    source.device.copy(range(source), range(target), source.size * bytes)
    target.version.change('capture')
  } else copyInto(source, target)
}

function record<I extends readonly Tensor[], R>(fn: (...inputs: I) => R, inputs: I, key: string): CapturedRecording<R> {
  const device = deviceOf(inputs)
  const held = withoutScope(() => inputs.map(({ shape, dtype }) => empty(shape, dtype, device)))
  try {
    load(held, inputs)
    const gradients = new CapturedGradients()
    const { graph, result } = device.record(() =>
      gradients.watch(() =>
        withoutScope(() => {
          const given = held.map((t) => t.detach())
          try {
            // Views of the results: what was made outside goes on to belong to who made it.
            return scope(() => withOwnCopies(() => replace(notAsync(fn, given as unknown as I), isTensor, (t) => t.detach())))
          } finally {
            for (const t of given) t.dispose()
          }
        }),
      ),
    )
    gradients.end(({ storage: { buffer } }) => isPlanned(buffer) && graph.buffers.has(buffer))
    try {
      leaveOutDead(graph, nameOf(fn))
      const built = build(device, graph, held, result, gradients)
      gradients.keep()
      return { key, ...built }
    } catch (error) {
      gradients.undo()
      graph.dispose()
      throw error
    }
  } catch (error) {
    for (const t of held) t.dispose()
    throw error
  }
}

/** @throws Error when `fn` returns a promise: what it does after waiting cannot be recorded */
function notAsync<I extends readonly Tensor[], R>(fn: (...inputs: I) => R, inputs: I): R {
  const result = fn(...inputs)
  if (!(result instanceof Promise)) return result
  result.catch(() => {})
  throw new Error(`capture: ${nameOf(fn)} is async; what it does after waiting cannot be recorded, so it must not wait`)
}

function nameOf(fn: { name: string }): string {
  return fn.name || 'a captured function'
}

/** @throws Error when that is everything: whoever replays nothing has forgotten to return something, and may even time it */
function leaveOutDead(graph: Graph, name: string): void {
  const isDispatch = ({ kind }: GraphCommand) => kind === 'dispatch'
  const recorded = graph.commands.filter(isDispatch).length
  graph.commands = eliminateDeadCode(graph.commands)
  if (recorded === 0 || graph.commands.some(isDispatch)) return
  const all = recorded === 1 ? 'its only dispatch' : `all of its ${recorded} dispatches`
  throw new Error(`capture: nothing uses what ${name} computes, so ${all} would be left out; return the tensors that it is for`)
}

/** Weaves and plans what was recorded. */
function build<R>(
  device: Device,
  graph: Graph,
  held: readonly Tensor[],
  result: R,
  gradients: CapturedGradients,
): Omit<CapturedRecording<R>, 'key'> {
  const early = earlyWrites(graph)
  const commands = graph.commands.filter((command) => !(command.kind === 'write' && early.has(command)))
  const woven = fuseHorizontally(commands, device.gpu.limits.maxStorageBufferBindingSize)
  const constants = new Set([...early].map(({ target }) => target.buffer).filter(isPlanned))
  const plan = planMemory(woven, {
    buffers: graph.buffers,
    constants,
    takeScratch: (sizes) => device.workspace.take(sizes),
    takeKept: (bytes) => device.acquirePooled(bytes),
  })
  for (const block of plan.kept) block.users++
  const giveMemory = () => {
    for (const block of plan.kept) device.releaseBlock(block)
    device.workspace.give(plan.scratch.map(({ buffer }) => buffer))
  }
  let program: ExecutableGraph
  try {
    program = new ExecutableGraph(graph, woven, early, device)
  } catch (error) {
    giveMemory()
    throw error
  }
  const used = new Set(
    graph.commands.flatMap((command) => accessesOf(command).map(({ range }) => range.buffer)).filter(isPlanned),
  )
  const results = tensorsIn(result)
  const made = [...results, ...gradients.left].filter(({ storage }) => isPlanned(storage.buffer)).map(({ version }) => version)
  const changed = [...graph.outsiders].filter(([, changes]) => changes).map(([version]) => version)
  const recorded = graph.commands.filter((command) => command.kind === 'dispatch')
  return {
    device,
    program,
    inputs: held,
    result,
    outsiders: [...graph.outsiders.keys()],
    changes: [...new Set([...changed, ...made])],
    gradients,
    statistics: {
      recorded: recorded.length,
      dispatches: program.dispatches,
      get flops() {
        return recorded.reduce((sum, { spec, problem }) => sum + spec.flops(problem), 0)
      },
      bytes: plan.bytes,
      bound: plan.bound,
      unplanned: [...used].reduce((sum, { bytes }) => sum + bytes, 0),
      get chain() {
        return longestChain(commands)
      },
    },
    dispose() {
      program.destroy()
      for (const t of results) t.dispose()
      gradients.dispose()
      for (const t of held) t.dispose()
      graph.dispose()
      giveMemory()
    },
  }
}

function isTensor(object: object): object is Tensor {
  return object instanceof Tensor
}

function tensorsIn(value: unknown): Tensor[] {
  const found: Tensor[] = []
  walk(value, (object) => {
    if (isTensor(object)) found.push(object)
    return !isTensor(object)
  })
  return found
}
