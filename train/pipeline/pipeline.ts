import { type Device, UserError } from '../../engine/index.ts'
import type { ViT } from '../../model/index.ts'
import { Stopwatch } from '../devices/stopwatch.ts'
import { gradientsOf } from '../optim/gradients.ts'
import { type PipelineWork, Stage } from './stage.ts'

/** Reads the parameters of a model by name, copied to the host. */
export async function parametersOf(model: ViT): Promise<Map<string, Float32Array>> {
  const read = model.namedParameters().map(async ([name, parameter]): Promise<[string, Float32Array]> => {
    return [name, (await parameter.data()) as Float32Array]
  })
  return new Map(await Promise.all(read))
}

/**
 * A ViT whose layers are divided over several devices (GPipe, arXiv 1811.06965; the method of FairScale's Pipe, which the paper
 * compares with). A batch is divided into micro-batches, so that the devices work on different ones at a time. The forward
 * passes of all micro-batches come first, then their backward passes in the opposite order. Activations and their gradients [B
 * / micro-batches, N, D] move by way of the host. Unlike GPipe, this pipeline keeps activations instead of computing them
 * twice, which takes memory and saves time. The gradients are those of the whole batch on one device but for rounding; they are
 * not clipped.
 */
export class Pipeline {
  readonly stages: readonly Stage[]
  /** Bytes that moved between devices so far. */
  moved = 0
  readonly #work: PipelineWork

  /**
   * @param vit the model that the pipeline computes
   * @param state the model's parameters by name, see `parametersOf`
   * @param devices the devices of the stages, in the order of the layers; layers are divided as evenly as possible
   * @throws UserError for more devices than layers, or micro-batches that do not divide the batch
   */
  constructor(vit: ViT, state: ReadonlyMap<string, Float32Array>, devices: readonly Device[], work: PipelineWork) {
    const { depth } = vit.config
    if (devices.length > depth) throw new UserError(`${depth} layers cannot be spread over ${devices.length} devices`)
    if (work.labels.length % work.microBatches !== 0) {
      throw new UserError(`${work.labels.length} images cannot be divided into ${work.microBatches} micro-batches`)
    }
    this.#work = work
    const bound = (i: number) => Math.round((i * depth) / devices.length)
    this.stages = devices.map((device, i) => {
      return new Stage(device, vit.config, { first: bound(i), end: bound(i + 1) }, state, work)
    })
  }

  /**
   * Runs the forward passes of all micro-batches.
   * @returns for each micro-batch its logits, or its part of the loss if the pipeline trains; and milliseconds of JavaScript
   */
  async forward(): Promise<{ results: Float32Array[]; host: number }> {
    const watch = new Stopwatch()
    const results = await Promise.all(this.#forward(watch).results)
    return { results, host: watch.total }
  }

  /** Takes a training step. @returns the loss before the update, and milliseconds of JavaScript */
  async step(lr: number): Promise<{ loss: number; host: number }> {
    const watch = new Stopwatch()
    const { results: losses, submitted } = this.#forward(watch)
    let received: (Promise<Float32Array> | undefined)[] = []
    const done: Promise<unknown>[] = [...losses]
    for (const stage of [...this.stages].reverse()) {
      const needs = received
      const sent: Promise<Float32Array>[] = []
      // The last stage submits its backward passes after its forward passes. In other stages they wait for gradients, which
      // come later.
      let turn = submitted
      for (let i = this.#work.microBatches - 1; i >= 0; i--) {
        const begun = Promise.all([needs[i], turn]).then(([values]) => {
          return { sent: watch.time(() => stage.backward(i, this.#cross(values))) }
        })
        turn = begun
        sent[i] = begun.then((pass) => pass.sent as Promise<Float32Array>)
      }
      done.push(turn.then(() => watch.time(() => stage.update(lr))))
      received = sent
    }
    await Promise.all([...received, ...done])
    const loss = (await Promise.all(losses)).reduce((sum, [part]) => sum + part!, 0)
    return { loss, host: watch.total }
  }

  /** Waits until all devices are done. */
  async synchronize(): Promise<void> {
    await Promise.all(this.stages.map(({ device }) => device.synchronize()))
  }

  /** Reads the gradients of the last step, by parameter name. */
  async gradients(): Promise<Map<string, Float32Array>> {
    const found = await Promise.all(this.stages.map((stage) => gradientsOf(stage.parameters())))
    return new Map(found.flatMap((values) => [...values]))
  }

  /** Frees everything but the devices. */
  dispose(): void {
    for (const stage of this.stages) stage.dispose()
  }

  /**
   * Starts all forward passes. Each begins when its input is there and the stage has submitted the micro-batch before it.
   * @returns the results of the last stage, and when it has submitted all its passes
   */
  #forward(watch: Stopwatch): { results: Promise<Float32Array>[]; submitted: Promise<unknown> } {
    let received: Promise<Float32Array>[] = []
    let turn: Promise<unknown> = Promise.resolve()
    for (const stage of this.stages) {
      const needs = received
      turn = Promise.resolve()
      received = Array.from({ length: this.#work.microBatches }, (_, i) => {
        const begun = Promise.all([needs[i], turn]).then(([values]) => {
          return { sent: watch.time(() => stage.forward(i, this.#cross(values))) }
        })
        turn = begun
        return begun.then(({ sent }) => sent)
      })
    }
    return { results: received, submitted: turn }
  }

  /** Counts the bytes of values that move to another device. @returns the values themselves */
  #cross<T extends Float32Array | undefined>(values: T): T {
    this.moved += values?.byteLength ?? 0
    return values
  }
}
