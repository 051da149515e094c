import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { expectUserError, runCli, runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-resume-'))
// Dropout, crops and flips are on, since all randomness must come back.
const settings = [
  ...['--dim', '16', '--heads', '2', '--dim-head', '8', '--mlp-dim', '16', '--patch-size', '14', '--branches', '2'],
  ...['--crop-padding', '2', '--flip', '--rand-augment', '2,9', '--dropout', '0.2', '--seed', '7'],
  ...['--train-images', '320', '--test-images', '100', '--batch-size', '32', '--epochs', '2', '--warmup', '3'],
]
const { test, slow, run } = suite('resume')

/** Fails unless two checkpoints have the same bits in all tensors, at the same position of the run. */
function assertSame(pathA: string, pathB: string): void {
  const [a, b] = [pathA, pathB].map((path) => decodeSafetensors(readFileSync(path), path)) as [
    ReturnType<typeof decodeSafetensors>,
    ReturnType<typeof decodeSafetensors>,
  ]
  if (a.tensors.size < 30 || a.tensors.size !== b.tensors.size)
    throw new Error(`${a.tensors.size} and ${b.tensors.size} tensors`)
  for (const [name, { data }] of a.tensors) {
    const bytes = (view: ArrayBufferView) => Buffer.from(view.buffer, view.byteOffset, view.byteLength)
    if (!bytes(data).equals(bytes(b.tensors.get(name)!.data))) throw new Error(`${name} differs`)
  }
  const [left, right] = [a, b].map(({ metadata }) => {
    const { position, random, steps, history } = JSON.parse(metadata.training!)
    return JSON.stringify({ position, random, steps, history })
  })
  if (left !== right) throw new Error(`${left} is not ${right}`)
}

/** Sends a signal when a run has saved for the first time, which is in its first epoch, whatever the machine's speed. */
function signalAfterSave(folder: string, signal: NodeJS.Signals) {
  let waiting: NodeJS.Timeout | undefined
  return (_: string, kill: (signal: NodeJS.Signals) => void) => {
    waiting ??= setInterval(() => {
      if (!existsSync(join(folder, 'checkpoint.safetensors'))) return
      clearInterval(waiting)
      kill(signal)
    }, 5).unref()
  }
}

for (const scheme of ['prefixSum', 'paper']) {
  const whole = join(work, `${scheme}-whole`)
  const slower = scheme === 'paper' ? slow : test
  const broken = join(work, `${scheme}-broken`)
  const train = (...args: string[]) => ['train', ...settings, '--scheme', scheme, '--save-every', '1', ...args]

  test(`${scheme}: a run goes to its end`, async () => {
    const straight = await runHere(train('--out', whole))
    if (straight.code !== 0) throw new Error(straight.stderr)
  })

  slower(`${scheme}: a run interrupted by Ctrl-C and resumed ends with the same bits`, async () => {
    const first = await runCli(train('--out', broken), { onStderr: signalAfterSave(broken, 'SIGINT') })
    if (first.code !== 130 || !first.stderr.includes(`--resume ${broken}`))
      throw new Error(`code ${first.code}: ${first.stderr}`)
    const second = await runHere(['train', '--resume', broken])
    if (second.code !== 0) throw new Error(second.stderr)
    assertSame(join(whole, 'checkpoint.safetensors'), join(broken, 'checkpoint.safetensors'))
    const steps = (folder: string) =>
      readFileSync(join(folder, 'metrics.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => {
          const { time, imagesPerSecond, ...metric } = JSON.parse(line)
          return JSON.stringify(metric)
        })
    if (steps(whole).join('\n') !== steps(broken).join('\n')) throw new Error('metrics differ')
  })

  const register = scheme === 'paper' ? slow : test
  register(
    `${scheme}: a run killed outright resumes from its last checkpoint with the same bits, with --recompute before or after`,
    async () => {
      const killed = join(work, `${scheme}-killed`)
      // It begins with --recompute where it goes on without, and the other way round.
      const [before, after] = scheme === 'paper' ? [['--recompute'], []] : [[], ['--recompute']]
      const first = await runCli(train('--out', killed, ...before), { onStderr: signalAfterSave(killed, 'SIGKILL') })
      if (first.code !== null) throw new Error(`it ended with ${first.code} before it was killed: ${first.stderr}`)
      const second = await runHere(['train', '--resume', killed, ...after])
      if (second.code !== 0) throw new Error(second.stderr)
      assertSame(join(whole, 'checkpoint.safetensors'), join(killed, 'checkpoint.safetensors'))
    },
  )
}

test('a finished run resumed with more epochs goes on; other settings are refused', async () => {
  const folder = join(work, 'prefixSum-whole')
  const more = await runHere(['train', '--resume', folder, '--epochs', '3', '--json'])
  if (more.code !== 0) throw new Error(more.stderr)
  const result = JSON.parse(more.stdout)
  if (result.settings.epochs !== 3 || result.prefixes.length !== 2) throw new Error(more.stdout)
  await expectUserError(['train', '--resume', folder, '--dim', '32'], /--dim is fixed/)
  await expectUserError(['train', '--resume', folder, '--preset', 'paper'], /--preset is fixed/)
})

test('an end that lies before the checkpoint is refused, and so is one at it that was not evaluated', async () => {
  const folder = join(work, 'early')
  await runCli(['train', ...settings, '--save-every', '1', '--out', folder], {
    onStderr: (_text, kill) => existsSync(join(folder, 'checkpoint.safetensors')) && kill('SIGKILL'),
  })
  const path = join(folder, 'checkpoint.safetensors')
  const { step } = JSON.parse(decodeSafetensors(readFileSync(path), path).metadata.training!).position
  for (const end of [step, step - 1].filter((n) => n > 0)) {
    const { code, stderr } = await runHere(['train', '--resume', folder, '--max-steps', String(end)])
    if (code !== 2 || !stderr.includes(`at mini-batch ${step} already`)) throw new Error(`code ${code}: ${stderr}`)
  }
})

test('metrics of the last mini-batch of an epoch belong to that epoch', () => {
  const lines = readFileSync(join(work, 'prefixSum-whole', 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
  const epochs = lines.map((line) => JSON.parse(line)).map(({ split, step, epoch }) => [split, step, epoch])
  // An epoch has 320 images in mini-batches of 32.
  const wrong = epochs.find(([, step, epoch]) => epoch !== Math.ceil(step / 10) - 1)
  // Each mini-batch and each evaluation has a line for each of two prefixes.
  if (wrong || epochs.length < 44) throw new Error(`${wrong} of ${epochs.length} lines`)
})

test('flags that a preset sets can be turned off', async () => {
  const small = [
    ...settings.slice(0, 10),
    '--train-images',
    '32',
    '--test-images',
    '32',
    '--max-steps',
    '1',
    '--batch-size',
    '32',
  ]
  const cifarsFlags = ['--preset', 'cifar', '--dataset', 'mnist', '--no-flip', '--depth', '1', '--branch-depth', '1']
  const off = await runHere(['train', ...small, ...cifarsFlags, '--branches', '1', '--out', join(work, 'off'), '--json'])
  if (off.code !== 0) throw new Error(off.stderr)
  if (JSON.parse(off.stdout).settings.flip !== false) throw new Error(off.stdout)
})

test('a loss that is not finite stops the run and names the op', async () => {
  const folder = join(work, 'nan')
  const { code, stderr } = await runHere(['train', ...settings, '--lr', '1e30', '--max-norm', '1e30', '--out', folder])
  if (code !== 2 || !/training stopped: NaN or infinity in mini-batch \d+ of epoch \d+, first in \w+/.test(stderr)) {
    throw new Error(`code ${code}: ${stderr}`)
  }
})

test('ends', () => rmSync(work, { recursive: true }))
run()
