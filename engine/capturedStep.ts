import { withOwnCopies } from './autograd/autocast.ts'
import { ArgumentError } from './base/errors.ts'
import { replace, walk } from './base/pytree.ts'
import { CapturedGradients } from './capturedGradients.ts'
import { defaultDevice } from './device/defaultDevice.ts'
import type { Device } from './device/device.ts'
import { eliminateDeadCode } from './graph/deadCode.ts'
import { ExecutableGraph, hoistableWrites } from './graph/executable.ts'
import { accessesOf, type Graph, type GraphCommand } from './graph/graph.ts'
import { criticalPath } from './graph/hazards.ts'
import { fuseHorizontally } from './graph/horizontalFusion.ts'
import { planMemory } from './graph/memoryPlan.ts'
import { ITEM_BYTES } from './layout/dtype.ts'
import { format } from './layout/shape.ts'
import { isPlanned } from './memory/deviceBuffer.ts'
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

/** The work of a function on the device, recorded for inputs of one set of shapes. */
export interface CapturedStep<R> {
  /** The dtypes and shapes of its inputs. */
  key: string
  device: Device
  executable: ExecutableGraph
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

/**
 * Copies the inputs of a call to where the recording reads them.
 * @throws ArgumentError for an input that was disposed, or of another device
 */
export function load(held: readonly Tensor[], inputs: readonly Tensor[]): void {
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

/** Records `fn` and plans its memory. @throws Error when `fn` reads values, is async, or nothing that it computes is used */
export function recordStep<I extends readonly Tensor[], R>(fn: (...inputs: I) => R, inputs: I, key: string): CapturedStep<R> {
  const device = deviceOf(inputs)
  const held = withoutScope(() => inputs.map(({ shape, dtype }) => empty(shape, dtype, device)))
  try {
    load(held, inputs)
    const gradients = new CapturedGradients()
    const { graph, result } = device.captureGraph(() =>
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

export function nameOf(fn: { name: string }): string {
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

/** Makes a recorded graph executable: fuses it horizontally, then plans its memory. */
function build<R>(
  device: Device,
  graph: Graph,
  held: readonly Tensor[],
  result: R,
  gradients: CapturedGradients,
): Omit<CapturedStep<R>, 'key'> {
  const hoisted = hoistableWrites(graph)
  const commands = graph.commands.filter((command) => !(command.kind === 'write' && hoisted.has(command)))
  const fused = fuseHorizontally(commands, device.gpu.limits.maxStorageBufferBindingSize)
  const constants = new Set([...hoisted].map(({ target }) => target.buffer).filter(isPlanned))
  const plan = planMemory(fused, {
    buffers: graph.buffers,
    constants,
    takeScratch: (sizes) => device.workspace.take(sizes),
    takeKept: (bytes) => device.acquirePooled(bytes),
  })
  for (const block of plan.kept) block.users++
  const giveMemory = () => {
    for (const block of plan.kept) device.pool.releaseBlock(block)
    device.workspace.give(plan.scratch.map(({ buffer }) => buffer))
  }
  let executable: ExecutableGraph
  try {
    executable = new ExecutableGraph(graph, fused, hoisted, device)
  } catch (error) {
    giveMemory()
    throw error
  }
  const used = new Set(
    graph.commands.flatMap((command) => accessesOf(command).map(({ binding }) => binding.buffer)).filter(isPlanned),
  )
  const results = tensorsIn(result)
  const made = [...results, ...gradients.left].filter(({ storage }) => isPlanned(storage.buffer)).map(({ version }) => version)
  const changed = [...graph.outsiders].filter(([, changes]) => changes).map(([version]) => version)
  const recorded = graph.commands.filter((command) => command.kind === 'dispatch')
  return {
    device,
    executable,
    inputs: held,
    result,
    outsiders: [...graph.outsiders.keys()],
    changes: [...new Set([...changed, ...made])],
    gradients,
    statistics: {
      recorded: recorded.length,
      dispatches: executable.dispatches,
      get flops() {
        return recorded.reduce((sum, { spec, problem }) => sum + spec.flops(problem), 0)
      },
      bytes: plan.bytes,
      bound: plan.bound,
      unplanned: [...used].reduce((sum, { bytes }) => sum + bytes, 0),
      get chain() {
        return criticalPath(commands)
      },
    },
    dispose() {
      executable.destroy()
      for (const t of results) t.dispose()
      gradients.dispose()
      for (const t of held) t.dispose()
      graph.dispose()
      giveMemory()
    },
  }
}

export function isTensor(object: object): object is Tensor {
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

export function deviceOf(inputs: readonly Tensor[]): Device {
  return inputs[0]?.device ?? defaultDevice()
}
