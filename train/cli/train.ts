import { existsSync } from 'node:fs'
import { rmdir } from 'node:fs/promises'
import { type Command, Option } from 'commander'
import { deviceKey } from '../../engine/autotune/store.ts'
import type { Tune } from '../../engine/autotune/tune.ts'
import { TunedVariants } from '../../engine/autotune/tuned.ts'
import { type Device, DeviceLostError, files, requestDevice, UserError } from '../../engine/index.ts'
import type { Mode } from '../../model/index.ts'
import { PRESETS } from '../presets.ts'
import { readCheckpoint, readRun, type SavedRun } from '../run/checkpoint.ts'
import { openData } from '../run/data.ts'
import { hostLine } from '../run/deviceImages.ts'
import { existingRunFolder, newRunFolder } from '../run/folder.ts'
import { checkInitial, settingsLike } from '../run/initFrom.ts'
import type { RunData } from '../run/loaders.ts'
import { checkMemory } from '../run/memory.ts'
import type { TrainingState } from '../run/metadata.ts'
import { trainWithRestarts } from '../run/restarts.ts'
import { checkAgreement } from '../run/settingsFile.ts'
import { configOf, startTrainer } from '../run/start.ts'
import type { Trainer } from '../run/trainer.ts'
import { severalDevices } from '../run/trainerParts.ts'
import { flagOf, MAX_COUNT, RESUMABLE } from '../settings.ts'
import { mergeSettings, readConfigFile } from './configFile.ts'
import { decoding } from './decoding.ts'
import { announce, checkPrecision } from './device.ts'
import { checkDistinctPaths } from './distinctPaths.ts'
import {
  addDistributeFlags,
  type DistributeFlags,
  distributionLine,
  type OpenPlaces,
  openPlaces,
  placementOf,
} from './distribute.ts'
import { Interrupt, InterruptedError } from './interrupt.ts'
import { adapterOption, addSettings, count, givenSettings, makeCommand, tuneOption } from './options.ts'
import { say } from './printable.ts'
import { goOn, lostLine, Session } from './session.ts'
import { tune } from './tune.ts'

interface TrainFlags extends Record<string, unknown>, DistributeFlags {
  preset?: string
  config?: string
  initFrom?: string
  out?: string
  resume?: string
  saveEvery: number
  adapter?: string
  tune?: Tune
  trace?: string
  eager?: boolean
  json?: boolean
}

/** Makes the command `paraformer train`. */
export function trainCommand(): Command {
  const presets = Object.entries(PRESETS).map(([name, { help }]) => `${name}: ${help}`)
  const command = makeCommand('train')
    .description('train a model; Ctrl-C saves, --resume goes on with the same bits')
    .addOption(
      new Option('--preset <name>', `settings to start from; flags override them. ${presets.join('; ')}`).choices(
        Object.keys(PRESETS),
      ),
    )
    .option(
      '--config <file>',
      'settings by their names, as JSON, or the settings.json of a run; they override --preset, flags override them',
    )
    .option(
      '--init-from <checkpoint>',
      'fine-tune: begin with the parameters, and by default the model settings, of this file; classes and image size may differ',
    )
    .option('--out <folder>', 'folder of the run: settings, checkpoint, model, metrics (default: a new one under runs/)')
    .option('--resume <folder>', 'go on with the run in this folder')
    .addOption(new Option('--save-every <n>', 'mini-batches between checkpoints').argParser(count(MAX_COUNT)).default(500))
    .addOption(adapterOption())
    .addOption(tuneOption())
    .option('--trace <file>', 'write a trace of a few mini-batches, dispatch by dispatch, for Perfetto or chrome://tracing')
    .option('--eager', 'run every op on the host in every step instead of replaying captured steps; for debugging, slower')
    .option('--json', 'print the result as JSON')
  return addSettings(addDistributeFlags(command)).action(async (flags: TrainFlags) => {
    const interrupt = new Interrupt()
    try {
      await train(flags, interrupt)
    } finally {
      interrupt.close()
    }
  })
}

async function train(flags: TrainFlags, interrupt: Interrupt): Promise<void> {
  const fromFlags = givenSettings(flags)
  if (flags.resume !== undefined) {
    const fixed = Object.keys(fromFlags).find((name) => !RESUMABLE.includes(name))
    if (fixed) throw new UserError(`${flagOf(fixed)} is fixed by the run that --resume goes on with; leave it out`)
    for (const name of ['preset', 'config', 'initFrom', 'tune'])
      if (flags[name] !== undefined)
        throw new UserError(`${flagOf(name)} is fixed by the run that --resume goes on with; leave it out`)
    if (flags.out !== undefined) throw new UserError('--out cannot go with --resume; the run stays in its folder')
  }
  // Files are read and checked before a device is opened, so that their faults show at once.
  let held = flags.resume === undefined ? undefined : await existingRunFolder(flags.resume, say)
  let data: RunData | undefined
  let session: Session | undefined
  let places: OpenPlaces | undefined
  try {
    const from = held && (await readRun(held.folder.checkpoint))
    const initial = flags.initFrom === undefined ? undefined : await readCheckpoint(flags.initFrom)
    const file = flags.config === undefined ? undefined : { path: flags.config, settings: await readConfigFile(flags.config) }
    const below = from
      ? [from.state.settings]
      : [initial ? settingsLike(initial) : {}, PRESETS[flags.preset ?? '']?.settings ?? {}]
    const settings = mergeSettings(below, file, fromFlags)
    const { mode, coalesce } = settings
    if (fromFlags.coalesce !== undefined && (mode === 'serial' || mode === 'streams'))
      throw new UserError(
        `--coalesce ${coalesce} is for branches that coalesce, and they run in mode ${mode}; leave it out, or change --mode`,
      )
    const like = from?.checkpoint ?? initial
    const open = decoding((hooks) => openData(settings, { like, sameData: from !== undefined, ...hooks }))
    data = await interrupt.orStop(open)
    if (from) await checkAgreement(held!.folder.settings, from, data.dataset)
    const config = configOf(settings, data, from)
    if (initial) checkInitial(initial, config)
    const { first, ...others } = placementOf(settings.mode, flags, config, true)
    places = await openPlaces(others, flags)
    const { devices } = places
    if (flags.trace !== undefined) await files.checkWritable(flags.trace)
    const start = async (device: Device, from: SavedRun | undefined, before: Trainer | undefined): Promise<Trainer> => {
      checkPrecision(settings.precision, device)
      checkMemory(settings, config, { software: device.capabilities.software, images: data!.train.count })
      held ??= await newRunFolder(flags.out, settings, say)
      const { path: _, ...ofFolder } = held.folder
      const ofRun = Object.values(ofFolder).map((path) => ['the run', path] as const)
      const read = [['--config', flags.config] as const, ['--init-from', flags.initFrom] as const]
      await checkDistinctPaths([['--trace', flags.trace]], [...ofRun, ...read])
      announce(device)
      if (data!.dataset.leftOut !== undefined) say(data!.dataset.leftOut)
      const onMode = (mode: Mode, measured: Record<Mode, number>) => say(modeLine(mode, measured))
      const chooseVariants = variantsOf(device, from?.state ?? before?.state(), flags.tune, interrupt)
      const options = { saveEvery: flags.saveEvery, eager: flags.eager ?? false, chooseVariants, devices, onMode, initial }
      // A restarted trainer keeps the mode that was found to be fastest.
      const trainer = await interrupt.orStop(startTrainer(device, before?.parts.settings ?? settings, data!, options, from))
      const several = severalDevices(trainer.parts)
      if (several) say(distributionLine(several))
      const line = hostLine(trainer.parts)
      if (line !== undefined) say(line)
      return trainer
    }
    await trainWithRestarts({
      from,
      open: () => interrupt.orStop(requestDevice(first)),
      start,
      async train(trainer) {
        const { initFrom, trace, json = false } = flags
        const parts = { data: data!, held: held!, interrupt, initFrom, trace, json }
        session ??= await Session.open(trainer, parts)
        await session.train(trainer)
      },
      lastSaved: async () => (await session?.lastSaved()) ?? from,
      mayRestart: () => !interrupt.asked,
      onLost: (loss, step) => (session ? session.onLost(loss, step) : say(lostLine(loss, step))),
    })
  } catch (error) {
    if (error instanceof DeviceLostError && !interrupt.asked) session?.gaveUp()
    if (!(error instanceof InterruptedError)) throw error
    const next = held && existsSync(held.folder.checkpoint) ? `; ${goOn(held.folder)}` : ''
    say(`ended by ${error.message}${session ? `; ${session.lostWork()}` : ` before a mini-batch was done${next}`}`)
    interrupt.end()
  } finally {
    await session?.close()
    await places?.close()
    await held?.lock.release()
    // The folder of a run that did not begin is empty, and is removed.
    if (held) await rmdir(held.folder.path).catch(() => {})
    if (data) await Promise.all([data.train.close(), data.evaluation.close()])
  }
}

/**
 * Makes the choice of kernel variants. A resumed run keeps its variants, and so its bits, unless the device is another one.
 * @param resumed the state of the run that goes on
 */
function variantsOf(
  device: Device,
  resumed: Pick<TrainingState, 'variants'> | undefined,
  when: Tune | undefined,
  interrupt: Interrupt,
) {
  const here = deviceKey(device.summary)
  const saved = resumed && (resumed.variants ?? { device: here, answers: {} })
  return async (work: () => void) => {
    if (saved?.device === here) device.kernels.tuned = new TunedVariants(saved)
    else await tune(device, when, work, { shouldStop: () => interrupt.asked })
  }
}

function modeLine(mode: Mode, measured: Record<Mode, number>): string {
  const each = Object.entries(measured).map(([name, milliseconds]) => `${name} ${milliseconds.toFixed(1)} ms`)
  return `branches run in mode ${mode} (a step: ${each.join(', ')})`
}
