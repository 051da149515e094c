import { checkFunction, refusal } from './base/checks.ts'
import { replace } from './base/pytree.ts'
import { type CapturedStep, type CaptureStatistics, deviceOf, isTensor, load, nameOf, recordStep } from './capturedStep.ts'
import { format } from './layout/shape.ts'
import { Tensor } from './tensor/tensor.ts'

/** A function whose work on the device is recorded once for each set of input shapes, then replayed. */
export interface Captured<I extends readonly Tensor[], R> {
  (...inputs: I): R
  /** One entry for each recording. */
  readonly statistics: readonly CaptureStatistics[]
  /** Frees the memory of all recordings, but for that of results that were not disposed. */
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
  let recordings: CapturedStep<R>[] = []
  const label = nameOf(fn)
  const call = (...inputs: I): R => {
    checkInputs(inputs)
    const key = inputs.map(({ dtype, shape }) => `${dtype} ${format(shape)}`).join()
    const sameShapes = recordings.filter((one) => one.key === key)
    if ((sameShapes[0]?.device ?? deviceOf(inputs)).capturing) throw new Error('capture: cannot be used inside another capture')
    // A parameter or its gradient lies elsewhere since, in the arena of an optimizer: what was recorded would go on with its old memory.
    for (const one of sameShapes) if (one.gradients.spent || one.outsiders.some(({ moved }) => moved)) forget(one)
    let recording = recordings.findLast((one) => one.key === key && one.gradients.agree)
    if (recording) {
      load(recording.inputs, inputs)
      recording.executable.updateParams()
      for (const version of recording.changes) version.change(label)
      recording.gradients.leave()
    } else {
      recording = recordStep(fn, inputs, key)
      while (recordings.length >= RECORDINGS) forget(recordings[0]!)
    }
    if (recordings.at(-1) !== recording) recordings = [...recordings.filter((one) => one !== recording), recording]
    recording.device.run(recording.executable, label)
    return replace(recording.result, isTensor, (t) => t.detach())
  }
  const forget = (recording: CapturedStep<R>) => {
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

/** @throws ArgumentError for what is no tensor */
function checkInputs(inputs: readonly unknown[]): void {
  for (let i = 0; i < inputs.length; i++) {
    if (!(inputs[i] instanceof Tensor))
      throw refusal('capture', inputs[i], 'a tensor; other values are fixed inside', `input ${i}`)
  }
}
