import { checkFunction, refusal } from './base/checks.ts'
import { replace } from './base/pytree.ts'
import type { CapturedStep, CaptureStatistics } from './capturedStep.ts'
import { functionName, inputDevice, isTensor, loadInputs, recordStep } from './capturedStep.ts'
import { format } from './layout/shape.ts'
import { Tensor } from './tensor/tensor.ts'

/** A function that records its work on the device once for each set of input shapes, then replays it. */
export interface Captured<I extends readonly Tensor[], R> {
  (...inputs: I): R
  /** The statistics of each recording that is kept, the most recently used last. */
  readonly statistics: readonly CaptureStatistics[]
  /** Frees the memory of all recordings, except for results that are not disposed. */
  dispose(): void
}

/** The number of recordings that are kept; the least recently used goes first. */
const MAX_RECORDINGS = 16

/**
 * Captures a function, as a CUDA graph does. The first call records the work of `fn` on the device and plans its memory as a whole. Later calls
 * with inputs of the same shapes replay the recording: no op runs on the host, no memory is allocated, and the bits equal those of `fn` on
 * contiguous inputs. Every other set of shapes gets a recording of its own. Dead code is left out: work whose results are not returned, kept
 * or written to memory made outside.
 *
 * Each replay draws new random numbers and computes tensors of `fromHost` again; other work of `fn` on the host happens only during recording.
 * A replay sets, adds to and clears gradients as `fn` did. If it finds other leaves with gradients than the recording did, the call records
 * again. Gradients outside an arena lie in memory that replays share, as results do.
 * @param fn takes tensors and returns tensors, or lists, Maps, Sets or objects of tensors. No gradient flows to its inputs, and its results
 *   are off the tape. It must not read values. Tensors from outside that it uses must keep their memory
 * @returns the function to call instead of `fn`. The next call overwrites its results, so read or copy them before; a `data()` begun before is
 *   in time. Disposing results is allowed and frees nothing
 * @throws ArgumentError when `fn` is no function, and from a call unless all inputs are live tensors of the recording's device; Error from a
 *   call when `fn` reads values, captures or is async, or when all of its work is dead code
 */
export function capture<I extends readonly Tensor[], R>(fn: (...inputs: I) => R): Captured<I, R> {
  checkFunction('capture', fn)
  /** The recordings, most recently used last. */
  let recordings: CapturedStep<R>[] = []
  const label = functionName(fn)
  const call = (...inputs: I): R => {
    checkInputs(inputs)
    const key = inputs.map(({ dtype, shape }) => `${dtype} ${format(shape)}`).join()
    const sameShapes = recordings.filter((recording) => recording.key === key)
    if ((sameShapes[0]?.device ?? inputDevice(inputs)).capturing)
      throw new Error('capture: cannot be used inside another capture')
    // A recording is stale once a parameter or its gradient has moved into an arena: it would use the old memory.
    for (const old of sameShapes) if (old.gradients.stale || old.outsiders.some(({ moved }) => moved)) drop(old)
    let recording = recordings.findLast((candidate) => candidate.key === key && candidate.gradients.agree)
    if (recording) {
      loadInputs(recording.inputs, inputs)
      recording.executable.updateParams()
      for (const version of recording.changes) version.change(label)
      recording.gradients.restore()
    } else {
      recording = recordStep(fn, inputs, key)
      while (recordings.length >= MAX_RECORDINGS) drop(recordings[0]!)
    }
    if (recordings.at(-1) !== recording) recordings = [...recordings.filter((other) => other !== recording), recording]
    recording.device.run(recording.executable, label)
    return replace(recording.result, isTensor, (t) => t.detach())
  }
  const drop = (recording: CapturedStep<R>) => {
    recording.dispose()
    recordings = recordings.filter((other) => other !== recording)
  }
  const dispose = () => {
    for (const recording of recordings) drop(recording)
  }
  return Object.defineProperties(call, {
    statistics: { get: () => recordings.map(({ statistics }) => statistics) },
    dispose: { value: dispose },
  }) as Captured<I, R>
}

/** @throws ArgumentError unless all inputs are tensors */
function checkInputs(inputs: readonly unknown[]): void {
  for (let i = 0; i < inputs.length; i++) {
    if (!(inputs[i] instanceof Tensor))
      throw refusal('capture', inputs[i], 'a tensor; other values are fixed inside', `input ${i}`)
  }
}
