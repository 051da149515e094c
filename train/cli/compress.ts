import { dirname, join } from 'node:path'
import { type Command, Option } from 'commander'
import { type AdapterSummary, files, UserError } from '../../engine/index.ts'
import { CONFIG_LIMITS, withArticle } from '../../model/config.ts'
import { checkPrefix, MODES, type ParaFormer } from '../../model/index.ts'
import type { Dataset } from '../data/dataset.ts'
import type { BatchLoader } from '../data/loader.ts'
import { dryRunEvaluation } from '../evaluate.ts'
import { type Checkpoint, readCheckpoint } from '../run/checkpoint.ts'
import { evaluationBatch, evaluationLoader, first, trainingParts } from '../run/loaders.ts'
import { MAX_BATCH, MAX_COUNT } from '../settings.ts'
import { type Compression, compress } from '../study/compress/compress.ts'
import { type CutModel, cutChosen, SAVED_DTYPES, type SavedDtype, saveCut, type Written } from '../study/compress/cut.ts'
import { type HeldOut, heldOutOf } from '../study/compress/heldOut.ts'
import { addDataFlags, type DataFlags, dataOfCheckpoint } from './checkpointData.ts'
import { compressionReport } from './compressReport.ts'
import { type ModelFlags, modeOnDevice, withModel } from './device.ts'
import { checkDistinctPaths } from './distinctPaths.ts'
import { Interrupt, InterruptedError } from './interrupt.ts'
import { adapterOption, count, makeCommand, number, numbers, precisionOption, tuneOption } from './options.ts'
import { printJson, say } from './printable.ts'
import { Progress } from './progress.ts'

interface CompressFlags extends ModelFlags, DataFlags {
  tolerance: number
  prefix?: number
  reorder?: boolean
  dtype: SavedDtype
  thresholds?: number[]
  batch: number
  images?: number
  validation?: number
  seed?: number
  out?: string
}

/** The share of the training images that chooses the prefix when the run of the model held out none. */
const VALIDATION = 0.1

/** Steps of the progress bar. */
const STEPS = 1000

/** Makes the command `paraformer compress`. */
export function compressCommand(): Command {
  const command = makeCommand('compress')
    .description(
      'accuracy, size, FLOPs and latency of every prefix of a trained model; writes the smallest one that is as good',
    )
    .requiredOption('--checkpoint <file>', 'checkpoint.safetensors or model.safetensors of a run')
    .addOption(
      new Option('--tolerance <points>', 'points of validation accuracy that the prefix may lose')
        .argParser(number)
        .default(0.5),
    )
    .addOption(
      new Option('--prefix <k>', 'write the first k branches, whatever they lose').argParser(count(CONFIG_LIMITS.branches)),
    )
    .option('--reorder', 'put the branches in greedy order of their gain in validation accuracy first')
    .addOption(new Option('--dtype <name>', 'of the written parameters').choices([...SAVED_DTYPES]).default('float32'))
    .addOption(
      new Option('--thresholds <x,y>', 'confidences at which an image exits early (default: 0 to 1 in 12 steps)').argParser(
        numbers,
      ),
    )
    .addOption(
      new Option('--batch <n>', 'images of the larger batch whose latency is measured').argParser(count(MAX_BATCH)).default(64),
    )
    .addOption(new Option('--images <n>', 'use only so many of each split').argParser(count(MAX_COUNT)))
    .addOption(
      new Option(
        '--validation <share>',
        `share of the training images to choose by (default: what the run held out, else ${VALIDATION})`,
      ).argParser(number),
    )
    .addOption(new Option('--seed <n>', 'seed of the validation split (default: that of the run, else 0)').argParser(number))
    .option('--out <folder>', "folder of compression.json and compressed.safetensors (default: the checkpoint's)")
    .addOption(new Option('--mode <name>', 'how branches run').choices([...MODES]).default('serial'))
    .addOption(precisionOption())
    .addOption(adapterOption())
    .addOption(tuneOption())
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  paraformer compress --checkpoint runs/fashion-mnist-paraformer-prefixSum/model.safetensors
  paraformer compress --checkpoint model.safetensors --tolerance 1 --reorder --dtype float16 --out small`,
    )
  return addDataFlags(command).action(async (flags: CompressFlags) => {
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

async function run(flags: CompressFlags, interrupt: Interrupt): Promise<void> {
  const checkpoint = await readCheckpoint(flags.checkpoint)
  const { config } = checkpoint
  checkFlags(checkpoint, flags)
  const folder = flags.out ?? dirname(flags.checkpoint)
  const [results, modelPath] = [join(folder, 'compression.json'), join(folder, 'compressed.safetensors')]
  await checkDistinctPaths(
    [
      ['the results', results],
      ['the compressed model', modelPath],
    ],
    [['--checkpoint', flags.checkpoint]],
  )
  const { dataset, options } = await dataOfCheckpoint(checkpoint, flags)
  const split = await validationOf(flags, dataset)
  const share = dataset.validation && flags.validation === undefined ? 0 : split.validation
  const held = trainingParts(dataset, share, split.seed).validation.slice(0, flags.images)
  if (held.length === 0)
    throw new UserError(`--validation ${split.validation} leaves no image to choose by; use a larger share`)
  for (const path of [results, modelPath]) await files.checkWritable(path)
  const validation = evaluationLoader(dataset, 'train', held, options)
  const test = evaluationLoader(dataset, 'test', first(dataset.test.count, flags.images), options)
  if (!split.heldOut) say('the validation images may have been trained on, which makes every prefix look better on them')
  const B = evaluationBatch(held.length, config.channels, config.imageSize)
  try {
    const { found, cut, written, device } = await withModel(
      checkpoint,
      flags,
      (model) => dryRunEvaluation(model, B),
      (model) => compressOnDevice(model as ParaFormer, { validation, test }, flags, interrupt),
    )
    const { mode, precision } = flags
    const about = { format: 1, model: flags.checkpoint, dataset: dataset.name, config, device, mode, precision }
    const result = { ...about, validation: split, ...found, written: { file: modelPath, ...written } }
    // The model comes first, so that results never name a file that is not there.
    await saveCut(modelPath, cut, checkpoint.data)
    await files.write(results, `${JSON.stringify(result, null, 2)}\n`)
    if (flags.json) printJson(result)
    else console.log(compressionReport(found, result.written, results))
  } finally {
    await Promise.all([validation.close(), test.close()])
  }
}

/** Compresses a model on its device, with progress. */
async function compressOnDevice(
  model: ParaFormer,
  loaders: { validation: BatchLoader; test: BatchLoader },
  flags: CompressFlags,
  interrupt: Interrupt,
): Promise<{
  found: Compression
  cut: CutModel
  written: Written
  device: Pick<AdapterSummary, 'name' | 'driver' | 'software'>
}> {
  const { tolerance, reorder, prefix, thresholds, batch, dtype } = flags
  const { name, driver, software } = model.device.summary
  const mode = modeOnDevice(flags)
  const progress = new Progress({ total: STEPS })
  const onProgress = (share: number, what: string) => {
    interrupt.check()
    progress.update(Math.round(STEPS * share), what)
  }
  try {
    const batches = batch === 1 ? [1] : [1, batch]
    const options = { ...loaders, tolerance, reorder, prefix, thresholds, batches, mode, onProgress }
    const found = await compress(model, options)
    const { cut, written } = await cutChosen(model, found, dtype, { ...loaders, mode })
    return { found, cut, written, device: { name, driver, software } }
  } finally {
    progress.stop()
  }
}

/** Returns the validation images of the flags, of the data set, or of the run. */
async function validationOf(
  { checkpoint, validation, seed }: CompressFlags,
  { validation: own, train }: Dataset,
): Promise<HeldOut & { heldOut: boolean }> {
  if (own && validation === undefined) return { validation: own.length / train.count, seed: seed ?? 0, heldOut: true }
  const run = await heldOutOf(checkpoint)
  const share = validation ?? (run?.validation || VALIDATION)
  const split = { validation: share, seed: seed ?? run?.seed ?? 0 }
  // Any smaller share of the same seed is a part of what was held out.
  return { ...split, heldOut: run !== undefined && run.validation >= share && run.seed === split.seed }
}

/** @throws UserError in one line for flags that the model, or each other, rule out */
function checkFlags({ path, config }: Checkpoint, { tolerance, prefix, thresholds, validation, seed }: CompressFlags): void {
  if (config.architecture !== 'paraformer')
    throw new UserError(
      `${path}: is of ${withArticle(config.architecture)}, which has no branches to leave out; use a paraformer`,
    )
  checkPrefix(config, prefix)
  if (!(tolerance >= 0 && tolerance <= 100))
    throw new UserError(`--tolerance ${tolerance} is not a number of points from 0 to 100`)
  const wrong = thresholds?.find((threshold) => !(threshold >= 0 && threshold <= 1))
  if (wrong !== undefined) throw new UserError(`--thresholds ${wrong} is not a probability from 0 to 1`)
  if (validation !== undefined && !(validation > 0 && validation <= 0.9))
    throw new UserError(`--validation ${validation} is not a share above 0 and up to 0.9`)
  if (seed !== undefined && !(Number.isSafeInteger(seed) && seed >= 0))
    throw new UserError(`--seed ${seed} is not a whole number of at least 0`)
}
