import { existsSync } from 'node:fs'
import { rmdir } from 'node:fs/promises'
import { type Command, Option } from 'commander'
import { deviceKey } from '../../engine/autotune/store.ts'
import type { Tune } from '../../engine/autotune/tune.ts'
import { TunedVariants } from '../../engine/autotune/tuned.ts'
import { type Device, DeviceLostError, files, requestDevice, UserError } from '../../engine/index.ts'
import { countFlops, countParameters, type Mode, type Model } from '../../model/index.ts'
import { type Evaluation, violations } from '../evaluate.ts'
import { readCheckpoint, saveCheckpoint, saveModel, type TrainingState, trainingState } from '../run/checkpoint.ts'
import { openData, type RunData } from '../run/data.ts'
import { existingRunFolder, newRunFolder, type RunFolder } from '../run/folder.ts'
import { RunLock } from '../run/lock.ts'
import { MetricsLog } from '../run/metrics.ts'
import { startTrainer } from '../run/start.ts'
import type { StepReport, Trainer } from '../run/trainer.ts'
import { checkSettings, flagOf, modelConfigOf, PRESETS } from '../settings.ts'
import { announce, checkPrecision } from './device.ts'
import { Interrupt } from './interrupt.ts'
import { adapterOption, addSettings, count, givenSettings, makeCommand, tuneOption } from './options.ts'
import { Progress } from './progress.ts'
import { addSpread, placementOf, spreadLine } from './spread.ts'
import { compact, duration, percent, table } from './table.ts'
import { Trace } from './trace.ts'
import { tune } from './tune.ts'

interface TrainFlags extends Record<string, unknown> {
  preset?: string
  out?: string
  resume?: string
  saveEvery: number
  adapter?: string
  tune?: Tune
  devices?: string
  inProcess?: boolean
  trace?: string
  eager?: boolean
  json?: boolean
}

/** Settings that a resumed run may change: how long it goes on, where its data lies and how its branches run. */
const RESUMABLE = ['epochs', 'maxSteps', 'dataDir', 'download', 'mode', 'recompute', 'coalesce']

/** `paraformer train` */
export function trainCommand(): Command {
  const presets = Object.entries(PRESETS).map(([name, { help }]) => `${name}: ${help}`)
  const command = makeCommand('train')
    .description('train a model; Ctrl-C saves, --resume goes on with the same bits')
    .addOption(
      new Option('--preset <name>', `settings to start from; flags override them. ${presets.join('; ')}`).choices(
        Object.keys(PRESETS),
      ),
    )
    .option('--out <folder>', 'folder of the run: checkpoint, model, metrics (default: a new one under runs/)')
    .option('--resume <folder>', 'go on with the run in this folder')
    .addOption(new Option('--save-every <n>', 'mini-batches between checkpoints').argParser(count).default(500))
    .addOption(adapterOption())
    .addOption(tuneOption())
    .option('--trace <file>', 'write a trace of a few mini-batches, dispatch by dispatch, for Perfetto or chrome://tracing')
    .option('--eager', 'run every op on the host in every step instead of replaying captured steps; for debugging, slower')
    .option('--json', 'print the result as JSON')
  return addSettings(addSpread(command)).action(async (flags: TrainFlags) => {
    const interrupt = new Interrupt()
    try {
      await train(flags, interrupt)
    } finally {
      interrupt.close()
    }
  })
}

async function train(flags: TrainFlags, interrupt: Interrupt): Promise<void> {
  const given = givenSettings(flags)
  if (flags.resume !== undefined) {
    const fixed = Object.keys(given).find((name) => !RESUMABLE.includes(name))
    if (fixed) throw new UserError(`${flagOf(fixed)} is fixed by the run that --resume goes on with; leave it out`)
    if (flags.preset !== undefined) throw new UserError('--preset is fixed by the run that --resume goes on with; leave it out')
    if (flags.tune !== undefined) throw new UserError('--tune is fixed by the run that --resume goes on with; leave it out')
    if (flags.out !== undefined) throw new UserError('--out cannot go with --resume; the run stays in its folder')
  }
  // Files are read and checked before a device is opened: what is wrong with them shows at once.
  const folder = flags.resume === undefined ? undefined : await existingRunFolder(flags.resume)
  const checkpoint = folder && (await readCheckpoint(folder.checkpoint))
  const state = checkpoint && trainingState(checkpoint)
  const settings = checkSettings({ ...(state?.settings ?? PRESETS[flags.preset ?? '']?.settings), ...given })
  const { mode, coalesce } = settings
  if (given.coalesce !== undefined && (mode === 'serial' || mode === 'streams'))
    throw new UserError(
      `--coalesce ${coalesce} is for branches that coalesce, and they run in mode ${mode}; leave it out, or change --mode`,
    )
  const data = await openData(settings)
  let device: Device | undefined
  let lock: RunLock | undefined
  let run = folder
  try {
    const config = checkpoint?.config ?? modelConfigOf(settings, data.dataset)
    const { first, ...devices } = placementOf(settings.mode, flags, config)
    if (flags.trace !== undefined) await files.checkWritable(flags.trace)
    device = await requestDevice(first)
    checkPrecision(settings.precision, device)
    run ??= await newRunFolder(flags.out, settings)
    lock = await RunLock.take(run.lock)
    const from = checkpoint && state ? { checkpoint, state } : undefined
    announce(device)
    const onMode = (mode: Mode, measured: Record<Mode, number>) => say(modeLine(mode, measured))
    const chooseVariants = variantsOf(device, state, flags.tune, interrupt)
    const options = { saveEvery: flags.saveEvery, eager: flags.eager ?? false, chooseVariants, devices, onMode }
    const trainer = await startTrainer(device, settings, data, options, from)
    const { spread } = trainer.parts
    if (spread) say(spreadLine(spread))
    await go(trainer, data, run, flags, interrupt).finally(() => spread?.close())
  } finally {
    await lock?.release()
    // Of a run that did not begin nothing is left.
    if (run) await rmdir(run.path).catch(() => {})
    await close(data)
    device?.destroy()
  }
}

/** A resumed run takes the variants that it began with, for the same bits, unless it goes on on another device. */
function variantsOf(device: Device, resumed: TrainingState | undefined, when: Tune | undefined, interrupt: Interrupt) {
  const here = deviceKey(device.summary)
  const kept = resumed && (resumed.variants ?? { device: here, answers: {} })
  return async (work: () => void) => {
    if (kept?.device === here) device.tuned = new TunedVariants(kept)
    else await tune(device, when, work, { shouldStop: () => interrupt.asked })
  }
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

function modeLine(mode: Mode, measured: Record<Mode, number>): string {
  const each = Object.entries(measured).map(([name, milliseconds]) => `${name} ${milliseconds.toFixed(1)} ms`)
  return `branches run in mode ${mode} (a step: ${each.join(', ')})`
}

async function close({ train, evaluation }: RunData): Promise<void> {
  await Promise.all([train.close(), evaluation.close()])
}

/** Trains, with progress, metrics and saves, and prints the result. */
async function go(trainer: Trainer, data: RunData, folder: RunFolder, flags: TrainFlags, interrupt: Interrupt): Promise<void> {
  const { device, model, settings, spread } = trainer.parts
  const run = { first: trainer.position.step, end: trainer.totalSteps }
  const trace = flags.trace === undefined ? undefined : await Trace.open(spread ?? device, flags.trace, run)
  const metrics = await MetricsLog.open(folder.metrics, trainer.position.step)
  say(
    `${settings.dataset}: ${data.train.count} training images, ${data.evaluation.count} of ${data.split}; ${describeModel(model)}; ` +
      `scheme ${settings.scheme}; ${folder.path}${trainer.position.step > 0 ? `, from mini-batch ${trainer.position.step} on` : ''}`,
  )
  const progress = new Progress({ total: trainer.totalSteps, value: trainer.position.step })
  const rate = new Rate()
  const running = new PrefixAccuracies()
  let kept = trainer.position.step
  const save = async () => {
    const parts = await trainer.saved()
    await saveCheckpoint(folder.checkpoint, parts.model, parts.optimizer, trainer.state(), data.info)
    kept = trainer.position.step
  }
  let finished = false
  try {
    finished = await trainer.run({
      shouldStop() {
        trace?.before(trainer.position.step)
        return interrupt.asked
      },
      onStep(report) {
        trace?.after(report.position.step)
        const imagesPerSecond = rate.add(report.images)
        const { epoch, position, losses, accuracies, norms, lossScale, lr } = report
        metrics.write({ kind: 'step', step: position.step, epoch, losses, accuracies, norms, lossScale, lr, imagesPerSecond })
        progress.update(position.step, label(report, running.add(report), imagesPerSecond))
      },
      onEvaluating: (images, of) => progress.update(trainer.position.step, `evaluating ${images}/${of}`),
      async onEpoch({ epoch, ...found }) {
        const { losses, accuracies } = found
        const { seconds, position } = trainer.state()
        const split = data.split
        metrics.write({
          kind: 'epoch',
          step: position.step,
          epoch,
          split,
          losses,
          accuracies,
          violations: violations(losses),
          seconds,
        })
        progress.note(epochLine(epoch, found))
        rate.restart()
      },
      onSave: save,
    })
    if (finished) await saveModel(folder.model, (await trainer.saved()).model, data.info)
  } catch (error) {
    if (error instanceof DeviceLostError && existsSync(folder.checkpoint)) {
      progress.note(`the checkpoint of mini-batch ${kept} is whole; go on with: npx paraformer train --resume ${folder.path}`)
    }
    throw error
  } finally {
    progress.stop()
    await metrics.close()
  }
  if (finished) report(trainer, data, folder, flags.json ?? false)
  else {
    process.exitCode = 130
    say(`saved after mini-batch ${trainer.position.step}; go on with: npx paraformer train --resume ${folder.path}`)
  }
  await trace?.save(trainer.position.step)
}

function describeModel({ config }: Model): string {
  const shape = config.architecture === 'vit' ? `${config.depth} layers` : `${config.branches} branches x ${config.branchDepth}`
  return `${config.architecture} ${shape}, ${compact(countParameters(config).total)} parameters`
}

function label(report: StepReport, shares: readonly number[], imagesPerSecond: number): string {
  const accuracy = shares.map((share) => (100 * share).toFixed(1)).join(' ')
  return `epoch ${report.epoch + 1} loss ${report.losses.at(-1)!.at(-1)!.toFixed(4)} acc ${accuracy} % ${imagesPerSecond.toFixed(0)} img/s`
}

/** Training accuracy of each prefix over the last mini-batches. */
class PrefixAccuracies {
  readonly #means: number[] = []

  /** @returns the mean of every prefix seen so far */
  add({ accuracies, firstPrefixes }: StepReport): readonly number[] {
    accuracies.forEach((shares, step) => {
      shares.forEach((share, j) => {
        const k = firstPrefixes[step]! - 1 + j
        this.#means[k] = (this.#means[k] ?? share) * 0.95 + 0.05 * share
      })
    })
    return Object.values(this.#means)
  }
}

function epochLine(epoch: number, { losses, accuracies }: Evaluation): string {
  const prefixes = losses.map((loss, k) => `L${k + 1} ${loss.toFixed(4)} (${percent(accuracies[k]!)})`)
  return `epoch ${epoch + 1}: ${prefixes.join('  ')}`
}

/** The final table on stdout, or the same as JSON. */
function report(trainer: Trainer, data: RunData, folder: RunFolder, json: boolean): void {
  const { config } = trainer.parts.model
  const last = trainer.history.at(-1)!
  const prefixes = last.losses.map((loss, i) => ({
    branches: i + 1,
    loss,
    accuracy: last.accuracies[i]!,
    parameters: countParameters(config, { branches: i + 1 }).total,
    flops: countFlops(config, { branches: i + 1 }).forward,
  }))
  const seconds = trainer.state().seconds
  if (json) {
    const { settings } = trainer.parts
    const { path, checkpoint, model } = folder
    const result = {
      settings,
      config,
      split: data.split,
      images: last.images,
      prefixes,
      violations: violations(last.losses),
      seconds,
    }
    console.log(JSON.stringify({ ...result, folder: path, checkpoint, model }, null, 2))
    return
  }
  const rows = prefixes.map((p) => [
    String(p.branches),
    p.loss.toFixed(4),
    percent(p.accuracy),
    compact(p.parameters),
    compact(p.flops),
  ])
  console.log(table(['branches', 'loss', 'accuracy', 'parameters', 'FLOPs/image'], rows))
  console.log(
    `on ${last.images} ${data.split} images; L_k > L_(k-1) ${violations(last.losses)} times; trained in ${duration(seconds)}; model: ${folder.model}`,
  )
}

/** Images a second over the last seconds. */
class Rate {
  #marks: { at: number; images: number }[] = []

  add(images: number): number {
    const now = performance.now()
    this.#marks.push({ at: now, images })
    while (this.#marks.length > 2 && now - this.#marks[0]!.at > 5000) this.#marks.shift()
    const [oldest, ...rest] = this.#marks
    const seconds = (now - oldest!.at) / 1000
    return seconds > 0 ? rest.reduce((sum, mark) => sum + mark.images, 0) / seconds : 0
  }

  /** After a pause that was no training. */
  restart(): void {
    this.#marks = []
  }
}
