import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { reason } from '../../engine/base/errors.ts'
import { decodeSafetensors, encodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { printable, printableLines } from '../../train/cli/printable.ts'
import { table } from '../../train/cli/table.ts'
import { expectUserError, runCli } from '../harness/cli.ts'
import { encodePng } from '../harness/pngFiles.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'

// Text of files that is printed must not control the terminal.
const { test, run } = suite('terminal')
const folder = mkdtempSync(join(tmpdir(), 'paraformer-terminal-'))
const path = (name: string) => join(folder, name)

/** Text with control characters: colours, a title, a C1 sequence, a new line, a carriage return, a change of direction. */
const HOSTILE = '\x1b[31mcat\x1b]0;title\x07\x9b2J\nfake line\r\x7f\u202egnp\u2028'
const OBEYED = /(?![\n\t])[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069]/u

test('text is shown, never obeyed', () => {
  equal(printable('\x1b[31m\x9b\n\u202e'), '\\u001b[31m\\u009b\\u000a\\u202e', 'escapes')
  equal(printable('Zoë, 猫, 👩‍🔬, T-shirt/top'), 'Zoë, 猫, 👩‍🔬, T-shirt/top', 'what any language writes')
  equal(printableLines('a\n\tb\x1b'), 'a\n\tb\\u001b', 'lines')
  const made = table(['a'], [[HOSTILE]])
  if (OBEYED.test(made) || made.split('\n').length !== 2) throw new Error(JSON.stringify(made))
  const said = reason(new Error(HOSTILE))
  if (OBEYED.test(said) || said.includes('\n')) throw new Error(JSON.stringify(said))
})

/** Writes a checkpoint with changed information about its data set. */
function checkpoint(change: (data: Record<string, unknown>) => unknown): string {
  const { tensors, metadata } = decodeSafetensors(readFileSync('test/golden/paraformer-paper-cls.safetensors'), 'golden')
  const config = JSON.parse(metadata.config!)
  const parameters = [...tensors]
    .filter(([key]) => key.startsWith('params.'))
    .map(([key, entry]) => [key.slice(7), entry] as const)
  const channels = Array.from({ length: config.channels }, () => 0.5)
  const data = {
    dataset: 'mnist',
    mean: channels,
    std: channels,
    classNames: Array.from({ length: config.classes }, () => HOSTILE),
  }
  const json = JSON.stringify(change(data) ?? data)
  writeFileSync(path('model.safetensors'), encodeSafetensors(new Map(parameters), { config: metadata.config!, data: json }))
  return path('model.safetensors')
}

const picture = path(`a\x1b[31m\n\x9b\u202e.png`)
writeFileSync(picture, encodePng({ width: 4, height: 4, depth: 8, colorType: 0, samples: new Uint8Array(16) }))

for (const json of [false, true]) {
  test(`class names and file names of predict${json ? ' --json' : ''}`, async () => {
    const args = ['predict', '--checkpoint', checkpoint(() => undefined), picture, ...(json ? ['--json'] : [])]
    const { code, stdout, stderr } = await runCli(args)
    if (code !== 0) throw new Error(stderr)
    if (OBEYED.test(stdout)) throw new Error(JSON.stringify(stdout))
    if (json) {
      const [{ file, classes }] = JSON.parse(stdout)
      equal([file, classes[0].name], [picture, HOSTILE], 'what JSON says')
    } else if (!stdout.includes('\\u001b[31mcat') || stdout.trim().split('\n').length !== 2)
      throw new Error(JSON.stringify(stdout))
  })
}

/** Registers a test that predict refuses a checkpoint with one line, before it opens a device. */
function refuses(title: string, change: (data: Record<string, unknown>) => unknown): void {
  test(`data info: ${title}`, () =>
    expectUserError(['predict', '--checkpoint', checkpoint(change), picture], /metadata data .*malformed/))
}
const spoil = (key: string, value: unknown) => (data: Record<string, unknown>) => ({ ...data, [key]: value })
const many = (value: unknown) => (data: Record<string, unknown>) => ({
  ...data,
  std: (data.std as number[]).map(() => value),
})
refuses('std 0', many(0))
refuses('a std below 0', many(-1))
refuses('a std that float32 does not divide by', many(1e-300))
refuses('a std that is not finite', many(null))
refuses('a std that is a text', many('0.5'))
refuses('no std', spoil('std', []))
refuses('a mean that is no list', spoil('mean', { length: 1, every: 1 }))
refuses('a mean that is huge', spoil('mean', [1e300, 1e300, 1e300]))
refuses('too few class names', spoil('classNames', ['cat']))
refuses('class names that are no texts', (data) => ({ ...data, classNames: (data.classNames as string[]).map(() => ({})) }))
refuses('a class name that is endless', (data) => ({
  ...data,
  classNames: (data.classNames as string[]).map(() => 'x'.repeat(1e6)),
}))
refuses('class names that are no list', spoil('classNames', 'abc'))
refuses('a data set without a name', spoil('dataset', 7))
refuses('null', () => 'null')

test('an error names a hostile file in one line', () =>
  expectUserError(['predict', '--checkpoint', path('\x1b[31m\nmodel\x9b'), picture], /\[31m model : no such file/))

test('parameters that give no numbers are an error, not null', async () => {
  const { tensors, metadata } = decodeSafetensors(readFileSync(checkpoint(() => undefined)), 'model')
  const entry = tensors.get('head.linear.bias')!
  tensors.set('head.linear.bias', { ...entry, data: new Float32Array(entry.data.length).fill(Number.NaN) })
  writeFileSync(path('spoiled.safetensors'), encodeSafetensors(tensors, metadata))
  const { code, stdout, stderr } = await runCli(['predict', '--checkpoint', path('spoiled.safetensors'), '--json', picture])
  if (code !== 2 || stdout !== '' || !/logits that are not finite/.test(stderr)) throw new Error(`${code} ${stdout} ${stderr}`)
})

test('ends', () => rmSync(folder, { recursive: true }))
run()
