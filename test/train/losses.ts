// Runs that lose devices at set places, and go on by themselves.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { requestDevice } from '../../engine/index.ts'
import { Interrupt } from '../../train/cli/interrupt.ts'
import { Session } from '../../train/cli/session.ts'
import { openData } from '../../train/run/data.ts'
import { newRunFolder } from '../../train/run/folder.ts'
import { trainWithRestarts } from '../../train/run/restarts.ts'
import { startTrainer } from '../../train/run/start.ts'
import type { Trainer } from '../../train/run/trainer.ts'
import { checkSettings, type Settings } from '../../train/settings.ts'
import { assertSameBits, metricLines } from './runs.ts'

/** Two epochs of 8 mini-batches, evaluations of three batches, and all kinds of randomness, which must come back. */
export const SETTINGS = {
  ...{ dim: 8, heads: 1, dimHead: 8, mlpDim: 8, patchSize: 14, branches: 2, trainImages: 64, batchSize: 8, epochs: 2 },
  ...{ warmup: 3, dropout: 0.2, seed: 7, flip: true, cropPadding: 2, testImages: 600 },
}
const SAVE_EVERY = 5

export interface How {
  mode: Settings['mode']
  eager?: boolean
  precision?: Settings['precision']
  /** Whether device 1 is in this process, in mode `devices`. */
  inProcess?: boolean
}

/**
 * Place of a loss: before mini-batch `begin`, in an evaluation, in the save after `save` mini-batches, or when a trainer is
 * made.
 */
type Where = { begin: number } | { evaluating: number } | { save: number } | { start: true }
export type Loss = Where & {
  /** `driver` (default): the driver loses device 0. `destroy`: the program destroys it. `other`: device 1 is lost. */
  what?: 'driver' | 'destroy' | 'other'
}

/** Makes a trainer lose a device. */
function lose({ parts: { device, distributed } }: Pick<Trainer, 'parts'>, { what = 'driver' }: Loss): void {
  const [worker] = (distributed?.workers ?? []) as unknown as { device?: { gpu: GPUDevice }; name: string }[]
  if (what === 'driver') device.gpu.destroy()
  else if (what === 'destroy') device.destroy()
  else if (worker!.device) worker!.device.gpu.destroy()
  else process.kill(Number(/process (\d+)/.exec(worker!.name)![1]), 'SIGKILL')
}

/** Trains in a folder, with device losses one after the other. @returns the mini-batches at which the training went on */
export async function train(
  folder: string,
  { mode, eager = false, precision = 'f32', inProcess = true }: How,
  losses: Loss[] = [],
) {
  const settings = checkSettings({ ...SETTINGS, mode, precision })
  const data = await openData(settings)
  const held = await newRunFolder(folder, settings, () => {})
  const interrupt = new Interrupt()
  const [left, from] = [[...losses], [] as number[]]
  let session: Session | undefined
  /** Makes the trainer lose the device if the next loss is due. */
  const due = (trainer: Pick<Trainer, 'parts'>, isDue: (loss: any) => boolean) => {
    if (!left[0] || !isDue(left[0])) return
    lose(trainer, left.shift()!)
  }
  try {
    await trainWithRestarts({
      open: () => requestDevice(),
      async start(device, state, before) {
        const options = { saveEvery: SAVE_EVERY, eager, devices: { others: [{}], inProcess } }
        due({ parts: { device } } as Trainer, ({ start }) => start)
        const trainer = await startTrainer(device, before?.parts.settings ?? settings, data, options, state)
        const run = trainer.run.bind(trainer)
        trainer.run = (hooks) =>
          run({
            ...hooks,
            onBegin(step) {
              due(trainer, ({ begin }) => begin === step)
              hooks!.onBegin?.(step)
            },
            onEvaluating(images, of) {
              due(trainer, ({ evaluating }) => evaluating === images)
              hooks!.onEvaluating?.(images, of)
            },
            onSave() {
              const saving = hooks!.onSave!()
              due(trainer, ({ save }) => save === trainer.position.step)
              return saving
            },
          })
        return trainer
      },
      async train(trainer) {
        session ??= await Session.open(trainer, { data, held, interrupt, json: true })
        await session.train(trainer)
      },
      lastSaved: async () => session?.lastSaved(),
      onLost(loss, step) {
        from.push(step)
        session?.onLost(loss, step)
      },
    })
    assert.equal(left, [], 'losses that did not happen')
    return from
  } finally {
    await session?.close()
    interrupt.close()
    await held.lock.release()
    await Promise.all([data.train.close(), data.evaluation.close()])
  }
}

const undisturbed = new Map<string, string>()

/** The folder of a run of the same kind without losses. */
export async function whole(work: string, name: string, how: How): Promise<string> {
  const known = undisturbed.get(name)
  if (known !== undefined) return known
  const folder = join(work, `${name}-whole`)
  undisturbed.set(name, folder)
  await train(folder, how)
  return folder
}

/** Fails unless a run with losses goes on at the mini-batches `from`, and ends with the bits of a run without losses. */
export async function goesOn(work: string, name: string, how: How, losses: Loss[], from: number[]): Promise<void> {
  const folder = join(work, `${name}-${from.join('-')}`)
  assert.equal(await train(folder, how, losses), from, 'went on from')
  const expected = await whole(work, name, how)
  assertSameBits(folder, expected)
  assert.equal(metricLines(folder), metricLines(expected))
  // 16 mini-batches and two evaluations, with two prefixes each.
  assert.equal(metricLines(folder).length, 36)
  const model = (path: string) => readFileSync(join(path, 'model.safetensors'))
  assert.ok(model(folder).equals(model(expected)), 'the model differs')
  assert.equal(readdirSync(folder).sort(), readdirSync(expected).sort())
}

/** Losses before a checkpoint, in an evaluation, in a save, and twice at the same place. */
export const EVERYWHERE: Loss[] = [
  { begin: 3 },
  { evaluating: 250, what: 'destroy' },
  { save: 10 },
  { begin: 14, what: 'destroy' },
  { begin: 14 },
  { evaluating: 600 },
]
/** The mini-batches at which the training goes on after each of them. */
export const FROM = [0, 5, 8, 10, 10, 15]
