import { type Device, DeviceLostError, reason, ShapeError, UserError } from '../../engine/index.ts'
import type { SavedRun } from './checkpoint.ts'
import type { Trainer } from './trainer.ts'
import { severalDevices } from './trainerParts.ts'

/** Device losses in a row without progress that end a run. */
export const MAX_DEVICE_LOSSES = 3

/** Milliseconds before a device is opened for the third time without progress, since the reset of a driver takes a while. */
const PAUSE = 1000

/** Milliseconds after an error of the driver within which it also reports the loss of the device. */
const SOON = 200

/** A training run that can go on with another device. */
export interface RestartableRun<T> {
  /** The state that the run begins with; default its first mini-batch. */
  from?: SavedRun | undefined
  /** Opens a device, each time of the same kind. */
  open(): Promise<Device>
  /**
   * Makes a trainer at a saved state.
   * @param before the trainer that lost its device
   */
  start(device: Device, from: SavedRun | undefined, before: Trainer | undefined): Promise<Trainer>
  /** Trains to the end. */
  train(trainer: Trainer): Promise<T>
  /** Reads the last saved state; undefined means the first mini-batch. */
  lastSaved(): Promise<SavedRun | undefined>
  /** Whether a device loss may be followed by a restart; default always. */
  mayRestart?(): boolean
  /** Is called with the error, and the number of mini-batches done in the state from which training goes on. */
  onLost?(error: DeviceLostError, step: number): void | Promise<void>
}

/**
 * Trains, and when a device is lost, goes on with another one from the last saved state: the final bits are those of a run without
 * losses. Progress is one mini-batch or evaluation more than any trainer before has done. All devices are ended when it settles.
 * @returns the result of `train`
 * @throws DeviceLostError after three losses in a row without progress; any other error that ends the training
 */
export async function trainWithRestarts<T>(run: RestartableRun<T>): Promise<T> {
  let { from } = run
  let before: Trainer | undefined
  let furthest = -1
  let losses = 0
  for (;;) {
    let device: Device | undefined
    let trainer: Trainer | undefined
    try {
      device = await run.open()
      trainer = await run.start(device, from, before)
      return await run.train(trainer)
    } catch (error) {
      if (run.mayRestart?.() === false) throw error
      const lost = (await deviceLossBehind(error, device, trainer)) ?? (losses > 0 && !trainer ? noDevice(error) : undefined)
      if (!lost) throw error
      if (trainer && trainer.reached > furthest) {
        furthest = trainer.reached
        losses = 0
      }
      if (++losses === MAX_DEVICE_LOSSES) throw lost
      before = trainer ?? before
      from = await run.lastSaved()
      await run.onLost?.(lost, from?.state.position.step ?? 0)
    } finally {
      await (trainer && severalDevices(trainer.parts))?.close()
      device?.destroy()
    }
    if (losses === MAX_DEVICE_LOSSES - 1) await new Promise((resolve) => setTimeout(resolve, PAUSE))
  }
}

/** Returns the device loss that an error reports or results from: a dying driver may fail in other ways first. */
export async function deviceLossBehind(
  error: unknown,
  device: Device | undefined,
  trainer?: Trainer,
): Promise<DeviceLostError | undefined> {
  if (error instanceof DeviceLostError) return error
  if (error instanceof UserError || error instanceof ShapeError || !device) return undefined
  const others: readonly { lost: Promise<never> }[] = (trainer && severalDevices(trainer.parts))?.workers ?? []
  let timer: NodeJS.Timeout | undefined
  const soon = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), SOON)
  })
  const lost = others.map((worker) => worker.lost.catch((loss: DeviceLostError) => loss))
  return Promise.race([device.lost, ...lost, soon]).finally(() => clearTimeout(timer))
}

/** Makes the error of a device that cannot be opened after a loss, when its driver may be gone for a while. */
function noDevice(error: unknown): DeviceLostError {
  return new DeviceLostError(`nothing can take the place of the device that was lost (${reason(error)})`)
}
