import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { readCheckpoint } from '../../train/run/checkpoint.ts'
import { readRunFolder } from '../../train/study/report/runFolder.ts'
import { expectUserError, runCli, runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-expand-'))
const MODEL = ['--dim', '16', '--heads', '2', '--dim-head', '8', '--mlp-dim', '32', '--patch-size', '14', '--branches', '2']
const TRAINING = [
  ...['--train-images', '600', '--test-images', '200', '--batch-size', '20', '--lr', '0.01', '--warmup', '5', '--epochs', '1'],
]
const { test, slow, run } = suite('paraformer expand')

/** Runs a command that succeeds. @returns its output */
async function ok(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runHere(args)
  if (code !== 0) throw new Error(`${args.join(' ')}: code ${code}: ${stderr}`)
  return stdout
}

const out = join(work, 'classes')
const first = JSON.parse(
  await ok('expand', ...MODEL, ...TRAINING, '--arms', 'expand,finetune', '--class-seed', '1', '--out', out, '--json'),
)

test('a base is trained on half of the classes, and its expansion on the others; files are what is printed', async () => {
  equal(JSON.parse(readFileSync(join(out, 'expansion.json'), 'utf8')), first, 'expansion.json')
  equal(readdirSync(out).sort(), ['base.safetensors', 'expanded.safetensors', 'expansion', 'expansion.json'], 'files')
  equal(readdirSync(join(out, 'expansion')).sort(), ['base', 'expand-task2', 'finetune-task2', 'plan.json'], 'runs')
  equal([first.dataset, first.split, first.classSeed, first.add], ['mnist', 'classes', 1, 1], 'about')
  equal(
    first.arms.map(({ arm }: { arm: string }) => arm),
    ['expand', 'finetune'],
    'arms',
  )
  const base = await readCheckpoint(join(out, 'base.safetensors'))
  const expanded = await readCheckpoint(join(out, 'expanded.safetensors'))
  equal([base.config.classes, expanded.config.classes], [5, 10], 'classes')
  const names = expanded.data!.classNames!
  equal([...names].sort(), ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'], 'names')
  equal(base.data!.classNames, names.slice(0, 5), 'names of the base')
  equal(first.tasks.map(({ name }: { name: string }) => name).join(', '), names.join(', '), 'tasks')
  for (const [name, { data }] of base.parameters) {
    if (!name.startsWith('head.')) equal(expanded.parameters.get(name)!.data, data, name)
  }
})

test('a checkpoint is expanded as its own base, by the classes that it knows; all its files stay', async () => {
  const base = join(out, 'base.safetensors')
  const before = readFileSync(base)
  const again = join(work, 'again')
  const args = ['--checkpoint', base, ...TRAINING, '--arms', 'expand', '--out', again, '--json']
  const { arms, base: found, tasks } = JSON.parse(await ok('expand', ...args))
  equal(readdirSync(again).sort(), ['expanded.safetensors', 'expansion', 'expansion.json'], 'files')
  equal(readFileSync(base).equals(before), true, 'the checkpoint')
  equal(found, first.base, 'base')
  // The other classes come in the order of the data set now, so that labels differ, but not the images.
  equal(
    tasks.map(({ train }: { train: number }) => train),
    [600, 600],
    'images',
  )
  equal(arms[0].stages[0].parameters, first.arms[0].stages[0].parameters, 'parameters')
})

test('domains: rotated images, with a model of all classes, and the table', async () => {
  const folder = join(work, 'rotated')
  const args = [
    ...MODEL,
    ...TRAINING,
    '--split',
    'rotated',
    '--arms',
    'expand',
    '--add',
    '2',
    '--freeze',
    'none',
    '--out',
    folder,
  ]
  const stdout = await ok('expand', ...args)
  for (const line of [
    /task 2: 180 degrees \(600 training images, 200 test\)/,
    /^ *arm +tasks +branches/m,
    /^ *expand +2 +4 /m,
  ]) {
    if (!line.test(stdout)) throw new Error(stdout)
  }
  const { checkpoint, settings } = JSON.parse(readFileSync(join(folder, 'expansion.json'), 'utf8'))
  equal([checkpoint, settings.branches, settings.validation, settings.mode], [undefined, 2, 0.1, 'serial'], 'settings')
  const expanded = join(folder, 'expanded.safetensors')
  await expectUserError(
    ['expand', '--checkpoint', expanded, '--out', join(work, 'none')],
    /expanded\.safetensors: the model knows all 10 classes/,
  )
})

test('each training run has a folder of its own, which the report reads', async () => {
  const folder = join(out, 'expansion', 'expand-task2')
  const read = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'))
  const { arm, optimizerSteps, images, final, trainingFlops } = read('run.json')
  const [stage] = first.arms[0].stages
  equal([arm, optimizerSteps, images], ['expand-task2', stage.optimizerSteps, stage.images], 'run.json')
  equal(final.validation.accuracy, stage.validation, 'validation')
  equal(trainingFlops > 0, true, 'FLOPs')
  const { settings, model, dataset } = read('settings.json')
  equal([settings.branches, model.branches, model.classes, dataset.trainImages], [3, 3, 10, 600], 'settings.json')
  const notes: string[] = []
  const { points, result } = await readRunFolder(folder, (text) => notes.push(text))
  equal(notes, [], 'notes')
  equal([result.arm, new Set(points.map(({ split }) => split)).size], ['expand-task2', 2], 'the run as the report reads it')
})

/** Runs a command and sends it SIGINT when a file is there. */
function interrupted(args: string[], path: string) {
  let timer: NodeJS.Timeout | undefined
  return runCli(args, {
    onStderr(_, kill) {
      timer ??= setInterval(() => {
        if (!existsSync(path)) return
        clearInterval(timer)
        kill('SIGINT')
      }, 20)
    },
  }).finally(() => clearInterval(timer))
}

slow('Ctrl-C saves, and --resume goes on with the same bits', async () => {
  const folder = join(work, 'interrupted')
  const args = [...MODEL, ...TRAINING, '--arms', 'expand,finetune', '--class-seed', '1', '--out', folder]
  const metrics = (run: string, of = folder) => join(of, 'expansion', run, 'metrics.jsonl')
  let { code, stderr } = await interrupted(['expand', ...args], metrics('base'))
  if (code !== 128 + constants.signals.SIGINT || !/saved; go on with: npx paraformer expand --resume/.test(stderr))
    throw new Error(`code ${code}: ${stderr}`)
  equal(readdirSync(folder), ['expansion'], 'files')
  equal(existsSync(join(folder, 'expansion', 'base', 'checkpoint.safetensors')), true, 'checkpoint')
  await expectUserError(['expand', ...args], /interrupted: holds an expansion; go on with --resume/)
  await expectUserError(['expand', '--resume', folder, '--lr', '1'], /--lr is fixed by the expansion/)
  ;({ code, stderr } = await interrupted(['expand', '--resume', folder], metrics('finetune-task2')))
  if (code !== 128 + constants.signals.SIGINT) throw new Error(`code ${code}: ${stderr}`)
  const found = JSON.parse(await ok('expand', '--resume', folder, '--json'))
  const untimed = ({ arms, ...rest }: typeof first) => ({
    ...rest,
    arms: arms.map(({ arm, stages }: { arm: string; stages: { seconds: number }[] }) => ({
      arm,
      stages: stages.map(({ seconds, ...stage }) => stage),
    })),
  })
  equal(untimed(found), untimed(first), 'results')
  for (const name of ['base.safetensors', 'expanded.safetensors', 'expansion/finetune-task2/model.safetensors'])
    equal(readFileSync(join(folder, name)).equals(readFileSync(join(out, name))), true, name)
  const lines = (of: string) =>
    readFileSync(metrics('finetune-task2', of), 'utf8')
      .trim()
      .split('\n')
      .map((line) => {
        const { time, imagesPerSecond, ...metric } = JSON.parse(line)
        return metric
      })
  equal(lines(folder), lines(out), 'metrics')
})

/** Registers a test that the command fails with one line. */
function refuses(title: string, args: readonly string[], message: RegExp): void {
  test(title, () => expectUserError(['expand', '--out', join(work, 'none'), ...args], message))
}
const base = join(out, 'base.safetensors')

test('no folder for results', () => expectUserError(['expand'], /--out/))
refuses('settings of the model with a checkpoint', ['--checkpoint', base, '--dim', '8'], /--dim is fixed by the model/)
refuses('too many branches', ['--add', '4096'], /branches 4100 is not a positive integer of at most 4096/)
refuses('more tasks than classes', ['--tasks', '11'], /11 tasks cannot share the 10 classes/)
refuses('one task', ['--tasks', '1'], /--tasks 1/)
refuses(
  'changed images of classes that the model lacks',
  ['--checkpoint', base, '--split', 'permuted'],
  /has 5 classes, mnist 10/,
)
refuses('another data set without its name', ['--split', 'dataset'], /needs --to NAME/)
refuses('a data set of another shape', ['--split', 'dataset', '--to', 'cifar-10', '--to-data-dir', work], /no such file/)
refuses('a data set without its split', ['--to', 'mnist'], /go with --split dataset/)
refuses('an unknown arm', ['--arms', 'expand,rehearse'], /there is no "rehearse"/)
refuses('an arm twice', ['--arms', 'expand,expand'], /twice/)
refuses('a share above 1', ['--replay', '2'], /--replay 2 is not a share/)
refuses('branches that cannot begin at zero', ['--residual', 'preNorm', '--init', 'zero'], /use --init random/)
refuses('several devices', ['--mode', 'devices'], /cannot freeze branches/)
refuses('no validation', ['--validation', '0'], /--validation 0/)
refuses('a seed that is none', ['--class-seed', '1.5'], /--class-seed 1\.5/)

test('a vit', async () => {
  const vit = join(work, 'vit')
  const small = ['--dim', '8', '--heads', '1', '--dim-head', '8', '--mlp-dim', '8', '--patch-size', '14', '--depth', '1']
  const short = ['--train-images', '8', '--batch-size', '8', '--test-images', '8', '--mode', 'serial']
  await ok('train', '--architecture', 'vit', ...small, ...short, '--out', vit)
  await expectUserError(
    ['expand', '--checkpoint', join(vit, 'model.safetensors')],
    /is of a vit, which has no branches to append/,
  )
})

test('ends', () => rmSync(work, { recursive: true }))

run()
