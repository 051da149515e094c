import { dirname, join } from 'node:path'
import { type Command, Option } from 'commander'
import { files, requestDevice, UserError } from '../../engine/index.ts'
import { CONFIG_LIMITS, withArticle } from '../../model/config.ts'
import type { Mode, ModelConfig, ParaFormerConfig } from '../../model/index.ts'
import { sha256Of } from '../data/checksum.ts'
import { DATASET_KINDS } from '../data/datasets.ts'
import { type Checkpoint, readCheckpoint } from '../run/checkpoint.ts'
import { deviceLossBehind } from '../run/restarts.ts'
import { checkSettings, flagOf, MAX_COUNT, modelConfigOf, SETTINGS, type Settings } from '../settings.ts'
import { saveCut } from '../study/compress/cut.ts'
import { expand } from '../study/expand/expand.ts'
import { FolderRuns } from '../study/expand/folderRuns.ts'
import { type BaseModel, checkInit, expandedConfig, INITS, type Init } from '../study/expand/model.ts'
import { SPLITS } from '../study/expand/splits.ts'
import { ExpansionStoppedError } from '../study/expand/stopped.ts'
import { type ExpansionRun, trainBase } from '../study/expand/train.ts'
import { EXPANSION_ARMS, type ExpansionArm, FREEZES, type Freeze, SOFTMAXES, type Softmax } from '../study/expand/ways.ts'
import { announce, checkPrecision } from './device.ts'
import { checkDistinctPaths } from './distinctPaths.ts'
import { type ExpansionPlan, readPlan, refuseExpansion, runsIn, writePlan } from './expandPlan.ts'
import { expansionReport } from './expandReport.ts'
import { type TaskFlags, type Tasks, tasksOf } from './expandTasks.ts'
import { Interrupt, InterruptedError } from './interrupt.ts'
import { adapterOption, addSettings, count, givenSettings, makeCommand, number } from './options.ts'
import { printable, printJson, say } from './printable.ts'
import { Progress } from './progress.ts'

interface ExpandFlags extends TaskFlags, Record<string, unknown> {
  checkpoint?: string
  add: number
  freeze: Freeze
  softmax: Softmax
  init?: Init
  replay: number
  arms?: string
  out?: string
  resume?: string
  saveEvery: number
  adapter?: string
  json?: boolean
}

/** Settings of the model, which a checkpoint fixes. */
const MODEL = [
  'imageSize',
  'patchSize',
  'dim',
  'heads',
  'dimHead',
  'mlpDim',
  'branches',
  'branchDepth',
  'residual',
  'pool',
  'dropout',
]
/** Settings that have no meaning here. */
const OTHERS = ['architecture', 'depth', 'members', 'prefixWeights', 'data']
/** The share of the training images of each task that is held out. */
const VALIDATION = 0.1
/** Steps of the progress bar. */
const STEPS = 1000

/** Makes the command `paraformer expand`. */
export function expandCommand(): Command {
  const command = makeCommand('expand')
    .description('append branches to a trained model and have them learn new classes or images; measures what is forgotten')
    .option('--checkpoint <file>', 'model that knows the first task (default: one is trained on it, by the flags of the model)')
    .addOption(
      new Option(
        '--split <name>',
        'tasks: classes, groups of the classes one after the other; permuted or rotated, the same images changed; dataset, another data set',
      )
        .choices([...SPLITS])
        .default('classes'),
    )
    .addOption(new Option('--tasks <k>', 'number of tasks; the model knows the first one').argParser(count(1000)).default(2))
    .addOption(new Option('--class-seed <n>', 'shuffle the classes before they are divided').argParser(number))
    .addOption(new Option('--to <name>', 'with --split dataset: the data set to learn').choices([...DATASET_KINDS]))
    .option('--to-data-dir <path>', 'folder of its files')
    .addOption(new Option('--add <n>', 'branches to append for each task').argParser(count(CONFIG_LIMITS.branches)).default(1))
    .addOption(
      new Option(
        '--freeze <what>',
        'what expand and expandReplay freeze: none; branches, the stem and the old branches; head, also what the head knows of the old classes',
      )
        .choices([...FREEZES])
        .default('branches'),
    )
    .addOption(
      new Option(
        '--softmax <classes>',
        'with what a new class competes in the loss of expand and finetune: all classes; task, the new ones alone, so that new images do not push old classes down',
      )
        .choices([...SOFTMAXES])
        .default('all'),
    )
    .addOption(
      new Option(
        '--init <name>',
        'new branches begin with an output of zero, or at random (default: zero for the paper residual)',
      ).choices([...INITS]),
    )
    .addOption(
      new Option('--replay <share>', 'share of the old training images that is replayed').argParser(number).default(0.1),
    )
    .option(
      '--arms <a,b>',
      `what to compare, of ${EXPANSION_ARMS.join(', ')} (default: all but expandReplay); expanded.safetensors is the model of expand`,
    )
    .option('--out <folder>', "folder of expansion.json, the models and the training runs (default: the checkpoint's)")
    .option('--resume <folder>', 'go on with the expansion in this folder, with the same bits')
    .addOption(new Option('--save-every <n>', 'mini-batches between checkpoints').argParser(count(MAX_COUNT)).default(500))
    .addOption(adapterOption())
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  paraformer expand --dataset fashion-mnist --split classes --tasks 2 --branches 4 --add 2 --epochs 5 --out runs/classes
  paraformer expand --checkpoint runs/mnist-paraformer-prefixSum/model.safetensors --split rotated --add 2 --out runs/rotated
  paraformer expand --checkpoint model.safetensors --split dataset --to fashion-mnist --arms expand,scratch --out runs/both`,
    )
  const names = Object.keys(SETTINGS).filter((name) => !OTHERS.includes(name))
  return addSettings(command, names).action(async (flags: ExpandFlags) => {
    const interrupt = new Interrupt()
    try {
      if (flags.resume !== undefined)
        refuseFixed(Object.keys(flags).filter((name) => command.getOptionValueSource(name) === 'cli'))
      await run(flags, interrupt)
    } catch (error) {
      if (!(error instanceof InterruptedError)) throw error
      say(`ended by ${error.message} before anything was trained`)
      interrupt.end()
    } finally {
      interrupt.close()
    }
  })
}

async function run(flags: ExpandFlags, interrupt: Interrupt): Promise<void> {
  const { resume } = flags
  const plan = resume === undefined ? await planOf(flags) : await readPlan(resume)
  const { checkpoint } = plan
  const folder = resume ?? flags.out ?? (checkpoint && dirname(checkpoint.path))
  if (folder === undefined) throw new UserError('name the folder of the results with --out')
  if (resume === undefined) refuseExpansion(folder)
  const model = checkpoint && (await readCheckpoint(checkpoint.path))
  const data = await interrupt.orStop(tasksOf(plan, plan.settings, model))
  checkModel(plan, data, model)
  const paths = {
    results: join(folder, 'expansion.json'),
    base: join(folder, 'base.safetensors'),
    expanded: join(folder, 'expanded.safetensors'),
  }
  const written = Object.entries(paths).filter(([name]) => name !== 'base' || !checkpoint)
  await checkDistinctPaths(written, [['--checkpoint', checkpoint?.path]])
  for (const [, path] of written) await files.checkWritable(path)
  const found = await onDevice(flags, plan, folder, data, model, interrupt)
  if (!found) return interrupt.end()
  const { expansion, base, expanded, device } = found
  const { info, dataset } = data
  const { split, classSeed, to, settings } = plan
  const about = { format: 1, dataset: dataset.name, split, classSeed, to, checkpoint: checkpoint?.path, device, settings }
  const result = { ...about, ...expansion }
  // The models come first, so that results never speak of models that are not there.
  const named = (model: BaseModel) => ({ ...info, classNames: info.classNames?.slice(0, model.config.classes) })
  if (!checkpoint) await saveCut(paths.base, base, named(base))
  if (expanded) await saveCut(paths.expanded, expanded, named(expanded))
  await files.write(paths.results, `${JSON.stringify(result, null, 2)}\n`)
  if (flags.json) printJson(result)
  else console.log(expansionReport(expansion, paths.results))
}

/** Makes the plan of an expansion from flags. @throws UserError in one line for bad ones */
async function planOf(flags: ExpandFlags): Promise<ExpansionPlan> {
  const { checkpoint: path, split, tasks, classSeed, to, toDataDir, add, freeze, softmax, init, replay } = flags
  const model = path === undefined ? undefined : await readCheckpoint(path)
  const settings = settingsOf(givenSettings(flags), model)
  const checkpoint = path === undefined ? undefined : { path, sha256: await sha256Of(path) }
  const arms = armsOf(flags)
  return { checkpoint, split, tasks, classSeed, to, toDataDir, add, freeze, softmax, init, replay, arms, settings }
}

/**
 * Trains the base, if there is none, and all arms, on a device, with progress.
 * @returns undefined when it was interrupted, and saved
 */
async function onDevice(
  { adapter, saveEvery }: ExpandFlags,
  plan: ExpansionPlan,
  folder: string,
  { tasks, dataset, info }: Tasks,
  checkpoint: Checkpoint | undefined,
  interrupt: Interrupt,
) {
  const { settings, arms, add, freeze, softmax, init, replay } = plan
  const device = await interrupt.orStop(requestDevice({ adapter }))
  const progress = new Progress({ total: STEPS })
  const goOn = `go on with: npx paraformer expand --resume ${printable(folder)}`
  try {
    checkPrecision(settings.precision, device)
    announce(device)
    await writePlan(folder, plan)
    interrupt.says = 'saving; once more ends at once'
    const { channels, height, width } = dataset
    const shape = { channels, height, width, mean: info.mean, std: info.std }
    const note = (text: string) => progress.note(text)
    const runs = new FolderRuns({ path: runsIn(folder), settings, dataset, info, saveEvery, say: note })
    const shouldStop = () => interrupt.asked
    const run: ExpansionRun = { device, shape, settings, mode: settings.mode as Mode, runs, shouldStop }
    // The base takes about as long as one task of one arm.
    const whole = arms.length * (tasks.length - 1) + (checkpoint ? 0 : 1)
    const before = checkpoint ? 0 : 1 / whole
    const show = (share: number, what: string) => progress.update(Math.round(STEPS * share), what)
    const base = checkpoint
      ? { config: checkpoint.config as ParaFormerConfig, parameters: checkpoint.parameters }
      : (await trainBase(run, tasks[0]!, (share) => show(before * share, 'the base'))).base
    const onProgress = (share: number, what: string) => show(before + (1 - before) * share, what)
    const options = { ...run, tasks, base, add, freeze, softmax, init, replay, arms, onProgress }
    const { results, models } = await expand(options)
    const { name, driver, software } = device.summary
    return { expansion: results, base, expanded: models.get('expand'), device: { name, driver, software } }
  } catch (error) {
    if (error instanceof ExpansionStoppedError) {
      progress.stop()
      say(`saved; ${goOn}`)
      return undefined
    }
    const lost = await deviceLossBehind(error, device)
    if (lost) progress.note(goOn)
    throw lost ?? error
  } finally {
    progress.stop()
    device.destroy()
  }
}

/** Flags that may go with --resume. */
const FREE = ['resume', 'adapter', 'saveEvery', 'json']

/** @throws UserError for flags that the expansion that goes on has fixed */
function refuseFixed(names: readonly string[]): void {
  const fixed = names.find((name) => !FREE.includes(name))
  if (fixed) throw new UserError(`${flagOf(fixed)} is fixed by the expansion that --resume goes on with; leave it out`)
}

/** Fills in the settings of the training, and those of the model from its checkpoint. @throws UserError in one line for bad flags */
function settingsOf(flags: ReturnType<typeof givenSettings>, checkpoint: Checkpoint | undefined): Settings {
  const fixed = checkpoint && Object.keys(flags).find((name) => MODEL.includes(name))
  if (fixed) throw new UserError(`${flagOf(fixed)} is fixed by the model of --checkpoint; leave it out`)
  const { config, data } = checkpoint ?? {}
  if (config && config.architecture !== 'paraformer') {
    const what = withArticle(config.architecture)
    throw new UserError(`${checkpoint!.path}: is of ${what}, which has no branches to append; use a paraformer`)
  }
  const known = config && Object.fromEntries(MODEL.map((name) => [name, config[name as keyof ModelConfig]]))
  const dataset = data && { dataset: data.dataset }
  const settings = checkSettings({ validation: VALIDATION, mode: 'serial', ...dataset, ...known, ...flags })
  if (settings.mode === 'devices') throw new UserError('--mode devices cannot freeze branches; use another mode')
  if (settings.validation === 0)
    throw new UserError('--validation 0 leaves nothing to watch the training by; use a share above 0')
  return settings.mode === 'auto' ? { ...settings, mode: 'serial' } : settings
}

function armsOf({ arms, replay }: ExpandFlags): ExpansionArm[] {
  if (!(replay >= 0 && replay <= 1)) throw new UserError(`--replay ${replay} is not a share from 0 to 1`)
  const asked = arms?.split(',').map((arm) => arm.trim()) ?? EXPANSION_ARMS.filter((arm) => arm !== 'expandReplay')
  const unknown = asked.find((arm) => !EXPANSION_ARMS.includes(arm as ExpansionArm))
  if (unknown !== undefined)
    throw new UserError(`--arms: there is no ${JSON.stringify(unknown)}; choose from ${EXPANSION_ARMS.join(', ')}`)
  if (new Set(asked).size < asked.length) throw new UserError(`--arms ${arms}: names an arm twice; name each once`)
  return asked as ExpansionArm[]
}

/** Checks the sizes of the last model before anything is trained. @throws UserError in one line */
function checkModel({ add, init, settings }: ExpansionPlan, { tasks, dataset }: Tasks, checkpoint?: Checkpoint): void {
  const config = checkpoint?.config ?? modelConfigOf(settings, { ...dataset, classes: tasks[0]!.classes })
  expandedConfig(config as ParaFormerConfig, add * (tasks.length - 1), tasks.at(-1)!.classes)
  if (init) checkInit('expand', config as ParaFormerConfig, init)
}
