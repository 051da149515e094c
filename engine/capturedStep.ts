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
import { copyOf, empty, Tensor } from './tensor/tensor.ts'

/** Facts on a recording of a captured function. */
export interface CaptureStatistics {
  /** The number of dispatches that were recorded, without dead code. */
  recorded: number
  /** The number of dispatches of a replay; horizontal fusion makes them fewer. */
  dispatches: number
  /** Floating-point operations of a replay, as the kernel specs count them; a multiply-add counts as two. */
  readonly flops: number
  /** Bytes of planned memory for intermediate values and results. */
  bytes: number
  /** A lower bound of `bytes` for any memory plan. */
  bound: number
  /** The bytes that a buffer of its own for each value would take. */
  unplanned: number
  /** The length of the critical path: the longest chain of recorded dispatches that depend on each other. */
  readonly chain: number
}

/** A recording: the work of a function on the device for inputs of one set of shapes. */
export interface CapturedStep<R> {
  /** The dtypes and shapes of the inputs as text. */
  key: string
  device: Device
  executable: ExecutableGraph
  /** The tensors that the recording reads its inputs from. */
  inputs: readonly Tensor[]
  result: R
  /** The versions of tensors from outside that the recording uses. */
  outsiders: readonly Changeable[]
  /** The versions of tensors that every replay changes: results, and tensors from outside. */
  changes: readonly Changeable[]
  gradients: CapturedGradients
  statistics: CaptureStatistics
  dispose(): void
}

/**
 * Copies the inputs of a call into the tensors that a recording reads.
 * @throws ArgumentError for an input that is disposed or on another device
 */
export function loadInputs(targets: readonly Tensor[], inputs: readonly Tensor[]): void {
  inputs.forEach((source, i) => {
    const input = `capture: input ${i} of shape ${format(source.shape)}`
    if (source.disposed) throw new ArgumentError(`${input} was used after it was disposed`)
    if (source.device !== targets[i]!.device) throw new ArgumentError(`${input} is not on the device of what was recorded`)
  })
  // A function may have returned its inputs, so an input of this call may lie in a target; it is copied before any target is written.
  const storages = new Set(targets.map(({ storage }) => storage))
  const copies = withoutScope(() => inputs.map((source) => (storages.has(source.storage) ? copyOf(source) : undefined)))
  for (const [i, target] of targets.entries()) loadInput(copies[i] ?? inputs[i]!, target)
  for (const copy of copies) copy?.dispose()
}

function loadInput(source: Tensor, target: Tensor): void {
  const bytes = ITEM_BYTES[source.dtype]
  const range = ({ storage, offset }: Tensor) => ({ buffer: storage.buffer, offset: offset * bytes })
  // A buffer copy can only move whole words of 4 bytes.
  const words = [source.offset, source.size].every((count) => (count * bytes) % 4 === 0)
  if (source.isContiguous() && words) {
    source.device.copy(range(source), range(target), source.size * bytes)
    target.version.change('capture')
  } else copyInto(source, target)
}

/** Records `fn` and plans its memory. @throws Error when `fn` reads values, captures or is async, or all of its work is dead code */
export function recordStep<I extends readonly Tensor[], R>(fn: (...inputs: I) => R, inputs: I, key: string): CapturedStep<R> {
  const device = inputDevice(inputs)
  const targets = withoutScope(() => inputs.map(({ shape, dtype }) => empty(shape, dtype, device)))
  try {
    loadInputs(targets, inputs)
    const gradients = new CapturedGradients()
    const { graph, result } = device.captureGraph(() =>
      gradients.watch(() =>
        withoutScope(() => {
          const views = targets.map((t) => t.detach())
          try {
            // The recording keeps views of the results, since a result from outside belongs to the caller.
            return scope(() => withOwnCopies(() => replace(callSync(fn, views as unknown as I), isTensor, (t) => t.detach())))
          } finally {
            for (const t of views) t.dispose()
          }
        }),
      ),
    )
    gradients.end(({ storage: { buffer } }) => isPlanned(buffer) && graph.buffers.has(buffer))
    try {
      removeDeadCode(graph, functionName(fn))
      const step = build(device, graph, targets, result, gradients)
      gradients.keep()
      return { key, ...step }
    } catch (error) {
      gradients.undo()
      graph.dispose()
      throw error
    }
  } catch (error) {
    for (const t of targets) t.dispose()
    throw error
  }
}

/** Calls `fn`. @throws Error when it returns a promise, since its work after an await cannot be recorded */
function callSync<I extends readonly Tensor[], R>(fn: (...inputs: I) => R, inputs: I): R {
  const result = fn(...inputs)
  if (!(result instanceof Promise)) return result
  result.catch(() => {})
  throw new Error(`capture: ${functionName(fn)} is async; what it does after waiting cannot be recorded, so it must not wait`)
}

/** The name of a captured function for errors and traces. */
export function functionName(fn: { name: string }): string {
  return fn.name || 'a captured function'
}

/** Removes dead code. @throws Error when all work is dead code: the function forgot to return its results */
function removeDeadCode(graph: Graph, name: string): void {
  const isDispatch = ({ kind }: GraphCommand) => kind === 'dispatch'
  const recorded = graph.commands.filter(isDispatch).length
  graph.commands = eliminateDeadCode(graph.commands)
  if (recorded === 0 || graph.commands.some(isDispatch)) return
  const all = recorded === 1 ? 'its only dispatch' : `all of its ${recorded} dispatches`
  throw new Error(`capture: nothing uses what ${name} computes, so ${all} would be left out; return the tensors that it is for`)
}

/** Makes a recorded graph executable: fuses it horizontally, then plans its memory. @throws OutOfMemoryError */
function build<R>(
  device: Device,
  graph: Graph,
  inputs: readonly Tensor[],
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
  const releaseMemory = () => {
    for (const block of plan.kept) device.pool.releaseBlock(block)
    device.workspace.give(plan.scratch.map(({ buffer }) => buffer))
  }
  let executable: ExecutableGraph
  try {
    executable = new ExecutableGraph(graph, fused, hoisted, device)
  } catch (error) {
    releaseMemory()
    throw error
  }
  const used = new Set(
    graph.commands.flatMap((command) => accessesOf(command).map(({ binding }) => binding.buffer)).filter(isPlanned),
  )
  const results = tensorsIn(result)
  const written = [...results, ...gradients.left]
    .filter(({ storage }) => isPlanned(storage.buffer))
    .map(({ version }) => version)
  const changed = [...graph.outsiders].filter(([, changes]) => changes).map(([version]) => version)
  const recorded = graph.commands.filter((command) => command.kind === 'dispatch')
  return {
    device,
    executable,
    inputs,
    result,
    outsiders: [...graph.outsiders.keys()],
    changes: [...new Set([...changed, ...written])],
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
      for (const t of inputs) t.dispose()
      graph.dispose()
      releaseMemory()
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

/** The device of the first input, or the default device where there are no inputs. */
export function inputDevice(inputs: readonly Tensor[]): Device {
  return inputs[0]?.device ?? defaultDevice()
}
