import { dirname, join } from 'node:path'
import { type Command, Option } from 'commander'
import { files, requestDevice, UserError } from '../../engine/index.ts'
import { CONFIG_LIMITS, withArticle } from '../../model/config.ts'
import type { Mode, ModelConfig, ParaFormerConfig } from '../../model/index.ts'
import { DATASET_NAMES } from '../data/datasets.ts'
import { type Checkpoint, readCheckpoint } from '../run/checkpoint.ts'
import { deviceLossBehind } from '../run/restarts.ts'
import { checkSettings, flagOf, modelConfigOf, SETTINGS, type Settings } from '../settings.ts'
import { saveCut } from '../study/compress/cut.ts'
import { expand } from '../study/expand/expand.ts'
import { type BaseModel, checkInit, expandedConfig, INITS, type Init } from '../study/expand/model.ts'
import { SPLITS } from '../study/expand/splits.ts'
import { type ExpansionRun, trainBase } from '../study/expand/train.ts'
import { EXPANSION_ARMS, type ExpansionArm } from '../study/expand/ways.ts'
import { announce, checkPrecision } from './device.ts'
import { checkDistinctPaths } from './distinctPaths.ts'
import { expansionReport } from './expandReport.ts'
import { type TaskFlags, type Tasks, tasksOf } from './expandTasks.ts'
import { Interrupt, InterruptedError } from './interrupt.ts'
import { adapterOption, addSettings, count, givenSettings, makeCommand, number } from './options.ts'
import { printJson, say } from './printable.ts'
import { Progress } from './progress.ts'

interface ExpandFlags extends TaskFlags, Record<string, unknown> {
  checkpoint?: string
  add: number
  freeze: boolean
  init?: Init
  replay: number
  arms?: string
  out?: string
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
const OTHERS = ['architecture', 'depth', 'members', 'prefixWeights']
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
    .addOption(new Option('--to <name>', 'with --split dataset: the data set to learn').choices([...DATASET_NAMES]))
    .option('--to-data-dir <path>', 'folder of its files')
    .addOption(new Option('--add <n>', 'branches to append for each task').argParser(count(CONFIG_LIMITS.branches)).default(1))
    .option('--no-freeze', 'have stem and old branches learn too')
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
    .option('--out <folder>', "folder of expansion.json and the models (default: the checkpoint's)")
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
      await run(flags, interrupt)
    } catch (error) {
      if (!(error instanceof InterruptedError)) throw error
      say(`ended by ${error.message}; nothing was written`)
      interrupt.end()
    } finally {
      interrupt.close()
    }
  })
}

async function run(flags: ExpandFlags, interrupt: Interrupt): Promise<void> {
  const checkpoint = flags.checkpoint === undefined ? undefined : await readCheckpoint(flags.checkpoint)
  const given = givenSettings(flags)
  const settings = settingsOf(given, checkpoint)
  const arms = armsOf(flags)
  const folder = flags.out ?? (flags.checkpoint === undefined ? undefined : dirname(flags.checkpoint))
  if (folder === undefined) throw new UserError('name the folder of the results with --out')
  const data = await interrupt.orStop(tasksOf(flags, settings, checkpoint))
  checkModel(flags, settings, data, checkpoint)
  const paths = {
    results: join(folder, 'expansion.json'),
    base: join(folder, 'base.safetensors'),
    expanded: join(folder, 'expanded.safetensors'),
  }
  const written = Object.entries(paths).filter(([name]) => name !== 'base' || !checkpoint)
  await checkDistinctPaths(written, [['--checkpoint', flags.checkpoint]])
  for (const [, path] of written) await files.checkWritable(path)
  const { expansion, base, expanded, device } = await onDevice(flags, settings, arms, data, checkpoint, interrupt)
  const { info, dataset } = data
  const { split, classSeed, to } = flags
  const about = { format: 1, dataset: dataset.name, split, classSeed, to, checkpoint: flags.checkpoint, device, settings }
  const result = { ...about, ...expansion }
  // The models come first, so that results never speak of models that are not there.
  const named = (model: BaseModel) => ({ ...info, classNames: info.classNames?.slice(0, model.config.classes) })
  if (!checkpoint) await saveCut(paths.base, base, named(base))
  if (expanded) await saveCut(paths.expanded, expanded, named(expanded))
  await files.write(paths.results, `${JSON.stringify(result, null, 2)}\n`)
  if (flags.json) printJson(result)
  else console.log(expansionReport(expansion, paths.results))
}

/** Trains the base, if there is none, and all arms, on a device, with progress. */
async function onDevice(
  flags: ExpandFlags,
  settings: Settings,
  arms: readonly ExpansionArm[],
  { tasks, dataset, info }: Tasks,
  checkpoint: Checkpoint | undefined,
  interrupt: Interrupt,
) {
  const device = await requestDevice({ adapter: flags.adapter })
  const progress = new Progress({ total: STEPS })
  try {
    checkPrecision(settings.precision, device)
    announce(device)
    const { channels, height, width } = dataset
    const shape = { channels, height, width, mean: info.mean, std: info.std }
    const run: ExpansionRun = { device, shape, settings, mode: settings.mode as Mode }
    // The base takes about as long as one task of one arm.
    const whole = arms.length * (tasks.length - 1) + (checkpoint ? 0 : 1)
    const before = checkpoint ? 0 : 1 / whole
    const show = (share: number, what: string) => {
      interrupt.check()
      progress.update(Math.round(STEPS * share), what)
    }
    const base = checkpoint
      ? { config: checkpoint.config as ParaFormerConfig, parameters: checkpoint.parameters }
      : (await trainBase(run, tasks[0]!, (share) => show(before * share, 'the base'))).base
    const { add, freeze, init, replay } = flags
    const onProgress = (share: number, what: string) => show(before + (1 - before) * share, what)
    const { results, models } = await expand({ ...run, tasks, base, add, freeze, init, replay, arms, onProgress })
    const { name, driver, software } = device.summary
    return { expansion: results, base, expanded: models.get('expand'), device: { name, driver, software } }
  } catch (error) {
    throw (await deviceLossBehind(error, device)) ?? error
  } finally {
    progress.stop()
    device.destroy()
  }
}

/** Fills in the settings of the training, and those of the model from its checkpoint. @throws UserError in one line for bad flags */
function settingsOf(given: ReturnType<typeof givenSettings>, checkpoint: Checkpoint | undefined): Settings {
  const fixed = checkpoint && Object.keys(given).find((name) => MODEL.includes(name))
  if (fixed) throw new UserError(`${flagOf(fixed)} is fixed by the model of --checkpoint; leave it out`)
  const { config, data } = checkpoint ?? {}
  if (config && config.architecture !== 'paraformer') {
    const what = withArticle(config.architecture)
    throw new UserError(`${checkpoint!.path}: is of ${what}, which has no branches to append; use a paraformer`)
  }
  const known = config && Object.fromEntries(MODEL.map((name) => [name, config[name as keyof ModelConfig]]))
  const dataset = data && { dataset: data.dataset }
  const settings = checkSettings({ validation: VALIDATION, mode: 'serial', ...dataset, ...known, ...given })
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
function checkModel({ add, init }: ExpandFlags, settings: Settings, { tasks, dataset }: Tasks, checkpoint?: Checkpoint): void {
  const config = checkpoint?.config ?? modelConfigOf(settings, { ...dataset, classes: tasks[0]!.classes })
  expandedConfig(config as ParaFormerConfig, add * (tasks.length - 1), tasks.at(-1)!.classes)
  if (init) checkInit(config as ParaFormerConfig, init)
}
