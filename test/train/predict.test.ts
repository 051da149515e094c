import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeSafetensors, encodeSafetensors, type SafetensorsEntry } from '../../train/checkpoint/safetensors.ts'
import { runHere } from '../harness/cli.ts'
import { assertClose } from '../harness/errors.ts'
import { encodePng } from '../harness/pngFiles.ts'
import { suite } from '../harness/suite.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-predict-'))
const [checkpoint, input] = [join(work, 'checkpoint.safetensors'), join(work, 'input.safetensors')]
const [output, gradients] = [join(work, 'output.safetensors'), join(work, 'gradients.safetensors')]
const load = (path: string) => decodeSafetensors(readFileSync(path), path)
const { test, run } = suite('predict')

/** Writes a golden model as a checkpoint, and an input file with int64 labels, as PyTorch users have them. */
function prepare(name: string) {
  const { tensors, metadata } = load(`test/golden/${name}.safetensors`)
  const parameters = [...tensors]
    .filter(([key]) => key.startsWith('params.'))
    .map(([key, entry]) => [key.slice(7), entry] as const)
  writeFileSync(checkpoint, encodeSafetensors(new Map(parameters), { config: metadata.config! }))
  const labels = tensors.get('labels')!
  const wide: SafetensorsEntry = {
    dtype: 'I64',
    shape: labels.shape,
    data: BigInt64Array.from(Array.from(labels.data as Int32Array, BigInt)),
  }
  writeFileSync(
    input,
    encodeSafetensors(
      new Map([
        ['images', tensors.get('images')!],
        ['labels', wide],
      ]),
    ),
  )
  return tensors
}

async function predict(...args: string[]) {
  const { code, stderr } = await runHere(['predict', '--checkpoint', checkpoint, '--input', input, ...args])
  if (code !== 0) throw new Error(`code ${code}: ${stderr}`)
}

for (const [name, prefixes] of [
  ['paraformer-paper-cls', [1, 2, undefined]],
  ['paraformer-preNorm-mean', [2]],
  ['vit-preNorm-cls', [undefined]],
] as const) {
  for (const k of prefixes) {
    test(`${name}, ${k === undefined ? 'all branches' : `prefix ${k}`}: logits, features and gradients are PyTorch's`, async () => {
      const golden = prepare(name)
      const branches = JSON.parse(load(checkpoint).metadata.config!).branches ?? 1
      const prefix = `prefix${k ?? branches}`
      await predict('--output', output, '--gradients', gradients, ...(k === undefined ? [] : ['--branches', String(k)]))
      const { tensors } = load(output)
      for (const key of ['logits', 'features']) {
        assertClose(tensors.get(key)!.data as Float32Array, golden.get(`${prefix}.${key}`)!.data as Float64Array, 1e-5, key)
      }
      const found = load(gradients).tensors
      const parameters = [...golden.keys()].filter((key) => key.startsWith('params.')).map((key) => key.slice(7))
      if (found.size !== parameters.length) throw new Error(`${found.size} gradients of ${parameters.length} parameters`)
      for (const key of parameters) {
        const data = found.get(key)!.data as Float32Array
        const expected = golden.get(`${prefix}.grad.${key}`)?.data as Float32Array | undefined
        assertClose(data, expected ?? new Float32Array(data.length), 1e-4, key)
      }
    })
  }
}

test('the modes give the same bits', async () => {
  prepare('paraformer-paper-cls')
  await predict('--output', output, '--mode', 'serial')
  const serial = readFileSync(output)
  await predict('--output', output, '--mode', 'streams')
  if (!serial.equals(readFileSync(output))) throw new Error('serial and streams differ')
})

test('--json says what was written', async () => {
  prepare('paraformer-paper-cls')
  const { code, stdout, stderr } = await runHere([
    'predict',
    '--checkpoint',
    checkpoint,
    '--input',
    input,
    '--output',
    output,
    '--json',
  ])
  if (code !== 0) throw new Error(stderr)
  const said = JSON.parse(stdout)
  if (said.output !== output || said.images !== load(output).tensors.get('logits')!.shape[0]) throw new Error(stdout)
})

test('image files are classified as their pixels say, whatever the format', async () => {
  const folder = join(work, 'run')
  const model = ['--dim', '16', '--heads', '2', '--dim-head', '8', '--mlp-dim', '16', '--patch-size', '14', '--branches', '2']
  const trained = await runHere([
    'train',
    ...model,
    '--train-images',
    '64',
    '--test-images',
    '32',
    '--batch-size',
    '32',
    '--out',
    folder,
  ])
  if (trained.code !== 0) throw new Error(trained.stderr)
  const pixels = Uint8Array.from({ length: 28 * 28 }, (_, i) => (i * 37) % 256)
  const grey = join(work, 'grey.png')
  const colour = join(work, 'colour.png')
  writeFileSync(grey, encodePng({ width: 28, height: 28, samples: pixels, colorType: 0, depth: 8 }))
  const tripled = Uint8Array.from({ length: 3 * 28 * 28 }, (_, i) => pixels[Math.floor(i / 3)]!)
  writeFileSync(colour, encodePng({ width: 28, height: 28, samples: tripled, colorType: 2, depth: 8 }))
  const weights = join(folder, 'model.safetensors')
  const { code, stdout, stderr } = await runHere(['predict', '--checkpoint', weights, '--json', '--top', '10', grey, colour])
  if (code !== 0) throw new Error(stderr)
  const [first, second] = JSON.parse(stdout) as { classes: { class: number; probability: number }[] }[]
  if (JSON.stringify(first!.classes) !== JSON.stringify(second!.classes)) throw new Error(stdout)

  const normalised = Float32Array.from(pixels, (value) => (value / 255 - 0.1307) / 0.3081)
  writeFileSync(input, encodeSafetensors(new Map([['images', { dtype: 'F32', shape: [1, 1, 28, 28], data: normalised }]])))
  const raw = await runHere(['predict', '--checkpoint', weights, '--input', input, '--output', output])
  if (raw.code !== 0) throw new Error(raw.stderr)
  const logits = Array.from(load(output).tensors.get('logits')!.data as Float32Array, Math.exp)
  const total = logits.reduce((sum, value) => sum + value, 0)
  const probabilities = first!.classes.toSorted((a, b) => a.class - b.class).map(({ probability }) => probability)
  assertClose(
    probabilities,
    logits.map((value) => value / total),
    1e-5,
    'probabilities',
  )
})

test('ends', () => rmSync(work, { recursive: true }))
run()
