import { type Device, DeviceLostError, reason, ShapeError, UserError } from '../../engine/index.ts'
import type { Start } from './start.ts'
import type { Trainer } from './trainer.ts'

/** So many losses without progress between them end a run. */
export const MOST_LOSSES = 3

/** Milliseconds before a device is opened for the third time without progress: a driver that is reset takes a while. */
const PAUSE = 1000

/** Milliseconds after an error of the driver in which it also tells that the device is gone. */
const SOON = 200

/** What a run does on each of its devices. */
export interface Relay<T> {
  /** What the run begins from; default its first mini-batch. */
  from?: Start | undefined
  /** Opens a device like the one before. */
  open(): Promise<Device>
  /**
   * Makes a trainer at a kept state.
   * @param before the trainer that lost its device
   */
  start(device: Device, from: Start | undefined, before: Trainer | undefined): Promise<Trainer>
  /** Trains to the end. */
  train(trainer: Trainer): Promise<T>
  /** The last kept state; undefined is the first mini-batch. */
  kept(): Promise<Start | undefined>
  /** Whether a loss may be followed by another try; default always. */
  goesOn?(): boolean
  /** Told what was lost, and how many mini-batches are done in the state from which training goes on. */
  onLost?(loss: DeviceLostError, step: number): void | Promise<void>
}

/**
 * Trains, on another device when one is lost, again from the last kept state: the bits at the end are those of a run that lost none.
 * Progress is a mini-batch or an evaluation more than any trainer before has done. All devices are ended when it settles.
 * @returns what `train` does
 * @throws DeviceLostError after three losses in a row without progress; whatever else ends the training
 */
export async function throughLosses<T>(relay: Relay<T>): Promise<T> {
  let { from } = relay
  let before: Trainer | undefined
  let furthest = -1
  let losses = 0
  for (;;) {
    let device: Device | undefined
    let trainer: Trainer | undefined
    try {
      device = await relay.open()
      trainer = await relay.start(device, from, before)
      return await relay.train(trainer)
    } catch (error) {
      if (relay.goesOn?.() === false) throw error
      const loss = (await lossBehind(error, device, trainer)) ?? (losses > 0 && !trainer ? noDevice(error) : undefined)
      if (!loss) throw error
      if (trainer && trainer.reached > furthest) {
        furthest = trainer.reached
        losses = 0
      }
      if (++losses === MOST_LOSSES) throw loss
      before = trainer ?? before
      from = await relay.kept()
      await relay.onLost?.(loss, from?.state.position.step ?? 0)
    } finally {
      await trainer?.parts.distributed?.close()
      device?.destroy()
    }
    if (losses === MOST_LOSSES - 1) await new Promise((resolve) => setTimeout(resolve, PAUSE))
  }
}

/** The loss of a device that an error tells of, or that is behind it: a driver that goes may fail in other ways first. */
export async function lossBehind(
  error: unknown,
  device: Device | undefined,
  trainer?: Trainer,
): Promise<DeviceLostError | undefined> {
  if (error instanceof DeviceLostError) return error
  if (error instanceof UserError || error instanceof ShapeError || !device) return undefined
  const others = trainer?.parts.distributed?.workers ?? []
  let timer: NodeJS.Timeout | undefined
  const soon = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), SOON)
  })
  const lost = others.map((worker) => worker.lost.catch((loss: DeviceLostError) => loss))
  return Promise.race([device.lost, ...lost, soon]).finally(() => clearTimeout(timer))
}

/** A driver that lost a device may be gone for a while. */
function noDevice(error: unknown): DeviceLostError {
  return new DeviceLostError(`nothing can take the place of the device that was lost (${reason(error)})`)
}
