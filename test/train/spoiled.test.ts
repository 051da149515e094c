import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeSafetensors, encodeSafetensors, type SafetensorsEntry } from '../../train/checkpoint/safetensors.ts'
import { accuracies } from '../../train/run/microBatches.ts'
import { runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'
import { TINY } from './runs.ts'

// A model with values that are not finite must not look like a model that guesses.
const { test, run } = suite('spoiled models')
const work = mkdtempSync(join(tmpdir(), 'paraformer-spoiled-'))
const folder = join(work, 'run')
const model = join(folder, 'model.safetensors')

test('a run that ends with losses that are not finite shows them and fails', async () => {
  const args = ['train', ...TINY, '--max-steps', '1', '--warmup', '0', '--lr', '1e25', '--out', folder, '--json']
  const { code, stdout, stderr } = await runHere(args)
  const { prefixes } = JSON.parse(stdout)
  const shown = prefixes.map(({ loss, accuracy }: { loss: number | null; accuracy: number }) => [loss, accuracy])
  equal(
    shown,
    [
      [null, 0],
      [null, 0],
    ],
    'losses and accuracies',
  )
  if (code !== 2 || !/the loss of prefix 1, 2 is not finite at the end; .*smaller --lr \(it was 1e\+25\)/.test(stderr))
    throw new Error(`code ${code}: ${stderr}`)
  const last = readFileSync(join(folder, 'metrics.jsonl'), 'utf8').trim().split('\n').slice(-2)
  equal(
    last.map((line) => JSON.parse(line)).map(({ split, prefix, loss, accuracy }) => [split, prefix, loss, accuracy]),
    [
      ['test', 1, null, 0],
      ['test', 2, null, 0],
    ],
    'metrics',
  )
})

/** The run's model, with one tensor filled with one value. */
function filled(name: string, value: number): string {
  const { tensors, metadata } = decodeSafetensors(readFileSync(model), model)
  for (const [, { data, dtype }] of tensors) if (dtype === 'F32') (data as Float32Array).fill(0.01)
  ;(tensors.get(name)!.data as Float32Array).fill(value)
  const path = join(work, 'filled.safetensors')
  writeFileSync(path, encodeSafetensors(tensors, metadata))
  return path
}

for (const [name, value, losses] of [
  ['head.linear.weight', Number.NaN, ['NaN', 'NaN']],
  ['head.linear.bias', Number.POSITIVE_INFINITY, ['NaN', 'NaN']],
  ['branches.1.layers.0.mlp.fc2.bias', Number.NaN, ['finite', 'NaN']],
] as const) {
  test(`eval of ${name} ${value} shows every prefix, counts no image that has no number, and fails`, async () => {
    const checkpoint = filled(name, value)
    for (const flags of [[], ['--mode', 'devices', '--in-process']]) {
      const { code, stdout, stderr } = await runHere(['eval', '--checkpoint', checkpoint, '--images', '50', '--json', ...flags])
      const { prefixes } = JSON.parse(stdout) as { prefixes: { loss: number | null; accuracy: number }[] }
      equal(
        prefixes.map(({ loss }) => (loss === null ? 'NaN' : 'finite')),
        losses,
        'losses',
      )
      for (const { loss, accuracy } of prefixes) if (accuracy > 0 !== (loss !== null)) throw new Error(stdout)
      const which = losses[0] === 'NaN' ? '1, 2' : '2'
      const said = `filled.safetensors: the loss of prefix ${which} is not finite; its parameters are spoiled`
      if (code !== 2 || !stderr.includes(said)) throw new Error(`code ${code}: ${stderr}`)
    }
  })
}

test('the accuracy of a mini-batch is no number where its loss is none', () => {
  equal(
    accuracies([0, 0, 1, 0, 0, 0], new Int32Array([0, 1]), [0.5, Number.NaN, 0.1]).map(String),
    ['0.5', 'NaN', '0.5'],
    'shares',
  )
})

test('a trace, logits and gradients are not written over each other, nor over what the command needs', async () => {
  const input = join(work, 'input.safetensors')
  const entries: Record<string, SafetensorsEntry> = {
    images: { dtype: 'F32', shape: [1, 1, 28, 28], data: new Float32Array(784) },
    labels: { dtype: 'I32', shape: [1], data: new Int32Array(1) },
  }
  writeFileSync(input, encodeSafetensors(new Map(Object.entries(entries))))
  const out = join(work, 'new', 'out.safetensors')
  const before = readFileSync(model)
  for (const [flags, expected] of [
    [['--output', out, '--gradients', join(work, 'new', '.', 'out.safetensors')], /--gradients .*is the file of --output/],
    [['--output', model], /--output .*is the file of --checkpoint/],
    [['--gradients', input], /--gradients .*is the file of --input/],
  ] as const) {
    const { code, stderr } = await runHere(['predict', '--checkpoint', model, '--input', input, ...flags])
    if (code !== 2 || !expected.test(stderr)) throw new Error(`code ${code}: ${stderr}`)
  }
  equal(readFileSync(model).equals(before), true, 'the model')
  const other = join(work, 'other')
  for (const name of ['metrics.jsonl', 'checkpoint.safetensors']) {
    const { code, stderr } = await runHere(['train', ...TINY, '--max-steps', '1', '--out', other, '--trace', join(other, name)])
    if (code !== 2 || !/--trace .*is the file of the run/.test(stderr)) throw new Error(`code ${code}: ${stderr}`)
  }
})

test('a new run is not made over the model of another one', async () => {
  const other = join(work, 'over')
  const args = ['train', ...TINY, '--max-steps', '1', '--out', other]
  const made = await runHere(args)
  if (made.code !== 0) throw new Error(made.stderr)
  rmSync(join(other, 'checkpoint.safetensors'))
  copyFileSync(join(other, 'model.safetensors'), join(work, 'copy'))
  const { code, stderr } = await runHere(args)
  if (code !== 2 || !/over: holds a model; choose another --out/.test(stderr)) throw new Error(`code ${code}: ${stderr}`)
  equal(readFileSync(join(other, 'model.safetensors')).equals(readFileSync(join(work, 'copy'))), true, 'the model')
})

test('ends', () => rmSync(work, { recursive: true }))
run()
