import { type Command, Option } from 'commander'
import { files } from '#platform'
import { UserError } from '../../engine/index.ts'
import { CONFIG_LIMITS } from '../../model/config.ts'
import { branchShape, checkPrefix, countParameters } from '../../model/index.ts'
import { exportOnnx } from '../exchange/exportOnnx.ts'
import { readImportedViT } from '../exchange/importViT.ts'
import { readCheckpoint, saveModel } from '../run/checkpoint.ts'
import { checkDistinctPaths } from './distinctPaths.ts'
import { count, makeCommand } from './options.ts'
import { printable, printJson } from './printable.ts'

interface ImportFlags {
  output: string
  json?: boolean
}

/** Makes the command `paraformer import`. */
export function importCommand(): Command {
  return makeCommand('import')
    .description('turn the weights of a Vision Transformer of Hugging Face or timm into a checkpoint')
    .argument('<weights>', 'the .safetensors file, or the folder that has it as model.safetensors, with its config.json')
    .requiredOption('--output <file>', 'safetensors file to write the model to, for eval, predict, export and --init-from')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Example, for the weights that the library transformers saved with model.save_pretrained('vit'):
  paraformer import vit --output vit.safetensors && paraformer predict photo.jpg --checkpoint vit.safetensors`,
    )
    .action(runImport)
}

async function runImport(weights: string, { output, json }: ImportFlags): Promise<void> {
  await checkDistinctPaths([['--output', output]], [['the weights', weights]])
  await files.checkWritable(output)
  const { config, tensors, data } = await readImportedViT(weights)
  await saveModel(output, { config, stateDict: () => Object.fromEntries(tensors) }, data)
  const parameters = countParameters(config).total
  if (json) printJson({ output, config, parameters, classNames: data.classNames })
  else {
    const { depth } = branchShape(config)
    console.log(
      `${printable(output)}: a ViT of ${depth} layers, width ${config.dim}, ${parameters} parameters, for images of ${config.imageSize} pixels and ${config.classes} classes`,
    )
  }
}

interface ExportFlags {
  checkpoint: string
  output: string
  branches?: number
  json?: boolean
}

/** Makes the command `paraformer export`. */
export function exportCommand(): Command {
  return makeCommand('export')
    .description('write a model, or one of its prefixes, as an ONNX file')
    .requiredOption('--checkpoint <file>', 'checkpoint.safetensors or model.safetensors of a run')
    .requiredOption(
      '--output <file>',
      'file to write, such as model.onnx: `images` [batch, C, H, W] to `logits` and `features`',
    )
    .addOption(new Option('--branches <k>', 'export only the first k branches').argParser(count(CONFIG_LIMITS.branches)))
    .option('--json', 'print JSON')
    .action(runExport)
}

async function runExport({ checkpoint: path, output, branches, json }: ExportFlags): Promise<void> {
  if (!/\.onnx$/i.test(output)) throw new UserError(`--output ${output}: name an .onnx file; that is the format it writes`)
  await checkDistinctPaths([['--output', output]], [['--checkpoint', path]])
  const { config, data, parameters } = await readCheckpoint(path)
  const k = checkPrefix(config, branches)
  await files.checkWritable(output)
  await exportOnnx(output, { config, stateDict: () => Object.fromEntries(parameters) }, { branches, data })
  const { channels, imageSize, classes } = config
  if (json) printJson({ output, branches: k, input: ['batch', channels, imageSize, imageSize], classes })
  else
    console.log(
      `${printable(output)}: images [batch, ${channels}, ${imageSize}, ${imageSize}], normalised, to logits [batch, ${classes}]`,
    )
}
