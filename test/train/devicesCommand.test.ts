import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isAlive } from '../../engine/platform/files.ts'
import { decodeSafetensors, encodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { expectUserError, runCli, runHere } from '../harness/cli.ts'
import { assertClose } from '../harness/errors.ts'
import { quick, suite } from '../harness/suite.ts'
import { assertSameBits, assertSameTensors } from './runs.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-devices-'))
const load = (path: string) => decodeSafetensors(readFileSync(path), path)
const settings = [
  ...['--dim', '16', '--heads', '2', '--dim-head', '8', '--mlp-dim', '16', '--patch-size', '14', '--branches', '3'],
  ...[
    '--dropout',
    '0.2',
    '--seed',
    '7',
    '--train-images',
    '320',
    '--test-images',
    '100',
    '--batch-size',
    '32',
    '--warmup',
    '3',
  ],
]
const { test, slow, run } = suite('branches on several devices: the command line')

const train = (folder: string, ...args: string[]) => ['train', ...settings, '--out', folder, ...args]

/** Fails unless two checkpoints have the same values but for rounding, at the same position of the run. */
function assertSameRun(pathA: string, pathB: string): void {
  const [a, b] = [load(pathA), load(pathB)]
  if (a.tensors.size < 60 || a.tensors.size !== b.tensors.size)
    throw new Error(`${a.tensors.size} and ${b.tensors.size} tensors`)
  for (const [name, { data }] of b.tensors)
    assertClose(a.tensors.get(name)!.data as Float32Array, data as Float32Array, 1e-5, name)
  const [left, right] = [a, b].map(({ metadata }) => {
    const { position, random, steps } = JSON.parse(metadata.training!)
    return JSON.stringify([position, random, Object.entries(steps).sort()])
  })
  if (left !== right) throw new Error(`${left} is not ${right}`)
}

/** Fails unless a trace shows three devices that work at the same time, each with the track of its branch. */
function assertTrace({ traceEvents }: { traceEvents: Record<string, any>[] }): void {
  const all = [0, 1, 2].map((device) => {
    const own = traceEvents.filter(({ pid }) => pid === device)
    const [{ args }] = own.filter(({ name }) => name === 'process_name') as [{ args: { name: string } }]
    const tracks = own.filter(({ name }) => name === 'thread_name').map(({ args }) => args.name)
    if (!args.name.startsWith(`device ${device} (`)) throw new Error(`device ${device} is called ${args.name}`)
    if (!tracks.includes(`branches.${device}`)) throw new Error(`device ${device} has tracks ${tracks}`)
    const work = own.filter(({ ph }) => ph === 'X')
    if (work.length < 100 || !work.every(({ ts, dur }) => ts >= 0 && dur >= 0)) throw new Error(`${work.length} dispatches`)
    return { from: Math.min(...work.map(({ ts }) => ts)), to: Math.max(...work.map(({ ts, dur }) => ts + dur)) }
  })
  const [from, to] = [Math.max(...all.map((span) => span.from)), Math.min(...all.map((span) => span.to))]
  const longest = Math.max(...all.map((span) => span.to - span.from))
  if (to - from < longest / 2) throw new Error(`devices work at different times: ${JSON.stringify(all)}`)
}

/** Process ids of devices, as a run prints them. */
const workersOf = (stderr: string) => [...stderr.matchAll(/\(process (\d+)\)/g)].map((match) => Number(match[1]))

/** Calls `act` once with a run's stderr, as soon as the run has saved a checkpoint after its first mini-batches. */
function onceUnderWay(folder: string, act: (stderr: string) => void) {
  let stderr = ''
  let waiting: NodeJS.Timeout | undefined
  return (text: string) => {
    stderr = text
    waiting ??= setInterval(() => {
      const path = join(folder, 'checkpoint.safetensors')
      if (!existsSync(path) || JSON.parse(load(path).metadata.training!).position.step === 0) return
      clearInterval(waiting)
      act(stderr)
    }, 5).unref()
  }
}

test('an epoch on three devices, two in processes of their own, is that of one device', async () => {
  const [onOne, onThree] = [join(work, 'one'), join(work, 'three')]
  const alone = await runHere(train(onOne, '--mode', 'serial', '--accumulate', '2'))
  if (alone.code !== 0) throw new Error(alone.stderr)
  const trace = join(work, 'trace.json')
  const flags = ['--mode', 'devices', '--devices', '3', '--accumulate', '2', '--json', '--trace', trace]
  const distributed = await runHere(train(onThree, ...flags))
  if (distributed.code !== 0) throw new Error(distributed.stderr)
  if (workersOf(distributed.stderr).length !== 2) throw new Error(distributed.stderr)
  assertSameRun(join(onThree, 'checkpoint.safetensors'), join(onOne, 'checkpoint.safetensors'))
  const model = load(join(onThree, 'model.safetensors'))
  for (const [name, { data }] of load(join(onOne, 'model.safetensors')).tensors)
    assertClose(model.tensors.get(name)!.data as Float32Array, data as Float32Array, 1e-5, name)
  const losses = JSON.parse(distributed.stdout).prefixes.map(({ loss }: { loss: number }) => loss)
  const expected = JSON.parse(load(join(onOne, 'checkpoint.safetensors')).metadata.training!).history.at(-1).losses
  assertClose(losses, expected, 1e-5, 'losses of the evaluation')
  assertTrace(JSON.parse(readFileSync(trace, 'utf8')))
})

test('a run that Ctrl-C stopped on two devices of one process goes on on one device, as if nothing had been', async () => {
  const [whole, broken] = [join(work, 'paper'), join(work, 'paper-broken')]
  const straight = await runHere(train(whole, '--scheme', 'paper', '--mode', 'serial'))
  if (straight.code !== 0) throw new Error(straight.stderr)
  const args = ['--scheme', 'paper', '--mode', 'devices', '--in-process', '--save-every', '1']
  let kill: (signal: NodeJS.Signals) => void = () => {}
  const act = onceUnderWay(broken, () => kill('SIGINT'))
  const first = await runCli(train(broken, ...args), {
    onStderr(text, end) {
      kill = end
      act(text)
    },
  })
  if (first.code !== 130) throw new Error(`code ${first.code}: ${first.stderr}`)
  const second = await runHere(['train', '--resume', broken, '--mode', 'serial'])
  if (second.code !== 0) throw new Error(second.stderr)
  assertSameRun(join(broken, 'checkpoint.safetensors'), join(whole, 'checkpoint.safetensors'))
})

test('a worker that is killed is replaced within a second or two: training goes on by itself, with the same bits', async () => {
  const [whole, folder] = [join(work, 'unkilled'), join(work, 'killed')]
  const args = ['--epochs', '3', '--mode', 'devices', '--save-every', '1']
  const straight = await runHere(train(whole, ...args))
  if (straight.code !== 0) throw new Error(straight.stderr)
  let killed = 0
  const act = onceUnderWay(folder, (stderr) => {
    killed = performance.now()
    process.kill(workersOf(stderr)[0]!, 'SIGKILL')
  })
  let told = 0
  const { code, stderr } = await runCli(train(folder, ...args), {
    onStderr(text) {
      if (!told && /was ended by SIGKILL/.test(text)) told = performance.now()
      act(text)
    },
  })
  const goesOn = /^device 1 \(process \d+\) was ended by SIGKILL; training goes on from mini-batch \d+ on a new one$/gm
  if (code !== 0 || stderr.match(goesOn)?.length !== 1) throw new Error(`code ${code}: ${stderr}`)
  if (workersOf(stderr.replace(goesOn, '')).length !== 2) throw new Error(stderr)
  // Where the machine is so busy that a command takes long to start, the news takes longer, too.
  const began = performance.now()
  await runCli(['--version'])
  const limit = Math.max(1000, 3 * (performance.now() - began))
  if (!(told - killed < limit)) throw new Error(`told after ${told - killed} ms, which is not within ${limit} ms`)
  assertSameBits(folder, whole)
})

slow(
  'workers that are killed again and again end the run with exit code 1, with a checkpoint from which it goes on on one device',
  async () => {
    const folder = join(work, 'killed-again')
    const killed = new Set<number>()
    const act = onceUnderWay(folder, () => {
      killAll = true
    })
    let killAll = false
    const { code, stderr } = await runCli(train(folder, '--epochs', '200', '--mode', 'devices', '--save-every', '1'), {
      onStderr(text) {
        act(text)
        for (const worker of killAll ? workersOf(text) : []) {
          if (!killed.has(worker) && isAlive(worker)) process.kill(worker, 'SIGKILL')
          killed.add(worker)
        }
      },
    })
    if (code !== 1 || !/^paraformer: device 1 \(process \d+\) was ended by SIGKILL/m.test(stderr))
      throw new Error(`code ${code}: ${stderr}`)
    if (!/^3 devices were lost in a row .*; the checkpoint of mini-batch \d+ is whole; go on with: .*--resume/m.test(stderr))
      throw new Error(stderr)
    if (existsSync(join(folder, 'run.lock'))) throw new Error('the lock is left')
    const { step } = JSON.parse(load(join(folder, 'checkpoint.safetensors')).metadata.training!).position
    const end = String(step + 3)
    const resumed = await runHere(['train', '--resume', folder, '--max-steps', end, '--mode', 'serial', '--json'])
    if (resumed.code !== 0) throw new Error(resumed.stderr)
  },
)

slow('a worker that hangs does not outlive a second Ctrl-C', async () => {
  const folder = join(work, 'hung')
  let workers: number[] = []
  let late = false
  let deadline: NodeJS.Timeout | undefined
  let signal: (name: NodeJS.Signals) => void = () => {}
  const act = onceUnderWay(folder, (stderr) => {
    workers = workersOf(stderr)
    process.kill(workers[0]!, 'SIGSTOP')
    signal('SIGINT')
    setTimeout(() => signal('SIGINT'), 300)
    // A worker that lives on keeps its output open, and runCli waits for that.
    deadline = setTimeout(() => {
      late = isAlive(workers[0]!)
      if (late) process.kill(workers[0]!, 'SIGKILL')
    }, 10_000)
  })
  const { code } = await runCli(train(folder, '--epochs', '200', '--mode', 'devices', '--save-every', '1'), {
    onStderr(text, end) {
      signal = end
      act(text)
    },
  })
  clearTimeout(deadline)
  if (code !== 130 || workers.length !== 1) throw new Error(`code ${code}, workers ${workers}`)
  if (late) throw new Error('the worker lives on')
})

test('a worker ends with the process that trains, however that ends', async () => {
  const folder = join(work, 'orphans')
  let workers: number[] = []
  let kill: (signal: NodeJS.Signals) => void = () => {}
  const act = onceUnderWay(folder, (stderr) => {
    workers = workersOf(stderr)
    kill('SIGKILL')
  })
  const { code } = await runCli(train(folder, '--epochs', '200', '--mode', 'devices', '--save-every', '1'), {
    onStderr(text, end) {
      kill = end
      act(text)
    },
  })
  if (code !== null || workers.length !== 1) throw new Error(`code ${code}, workers ${workers}`)
  const begin = performance.now()
  while (workers.some(isAlive)) {
    if (performance.now() - begin > 10_000) throw new Error('a worker lives on')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
})

slow('predict and eval in mode devices give the numbers of one device', async () => {
  const golden = load('test/golden/paraformer-paper-cls.safetensors')
  const [checkpoint, input] = [join(work, 'golden.safetensors'), join(work, 'input.safetensors')]
  const params = [...golden.tensors].filter(([name]) => name.startsWith('params.'))
  const named = new Map(params.map(([name, entry]) => [name.slice('params.'.length), entry] as const))
  writeFileSync(checkpoint, encodeSafetensors(named, { config: golden.metadata.config! }))
  const inputs = new Map(['images', 'labels'].map((name) => [name, golden.tensors.get(name)!] as const))
  writeFileSync(input, encodeSafetensors(inputs))
  for (const branches of quick ? [3] : [1, 3]) {
    const results = []
    for (const mode of [['serial'], ['devices', '--devices', '2', '--in-process']]) {
      const [output, gradients] = [join(work, 'output.safetensors'), join(work, 'gradients.safetensors')]
      const files = ['--checkpoint', checkpoint, '--input', input, '--output', output, '--gradients', gradients]
      const { code, stderr } = await runHere(['predict', ...files, '--branches', String(branches), '--mode', ...mode])
      if (code !== 0) throw new Error(stderr)
      results.push(new Map([...load(output).tensors, ...load(gradients).tensors]))
    }
    const [expected, actual] = results as [(typeof results)[0], (typeof results)[0]]
    if (expected.size !== named.size + 2 || actual.size !== expected.size) throw new Error(`${actual.size} tensors`)
    for (const [name, { data }] of expected)
      assertClose(actual.get(name)!.data as Float32Array, data as Float32Array, 1e-5, name)
  }
  const evaluate = async (...mode: string[]) => {
    const model = join(work, 'one', 'model.safetensors')
    const { code, stdout, stderr } = await runHere(['eval', '--checkpoint', model, '--images', '100', '--json', ...mode])
    if (code !== 0) throw new Error(stderr)
    return JSON.parse(stdout).prefixes.flatMap(({ loss, accuracy }: Record<string, number>) => [loss, accuracy])
  }
  assertClose(await evaluate('--mode', 'devices', '--devices', '3'), await evaluate(), 1e-5, 'eval')
})

test('a loss that is not finite stops the run and names the device or the pass', async () => {
  for (const where of quick ? [['--in-process']] : [['--in-process'], ['--devices', '3']]) {
    const args = ['--lr', '1e30', '--max-norm', '1e30', '--mode', 'devices', ...where]
    const { code, stderr } = await runHere(train(join(work, `nan${where.length}`), ...args))
    if (code !== 2 || !/NaN or infinity in mini-batch \d+ of epoch 1, first in the [a-z']+ /.test(stderr)) {
      throw new Error(`code ${code}: ${stderr}`)
    }
    if (/^ +at /m.test(stderr)) throw new Error(`a stack trace: ${stderr}`)
  }
})

test('a ViT is copied to all devices, and goes on with the same bits', async () => {
  const [whole, broken] = [join(work, 'vit'), join(work, 'vit-broken')]
  const args = ['--architecture', 'vit', '--depth', '1', '--mode', 'devices', '--devices', '2', '--in-process']
  const sizes = settings.filter((flag, i) => flag !== '--branches' && settings[i - 1] !== '--branches')
  const run = (folder: string, ...more: string[]) => runHere(['train', ...sizes, ...args, '--out', folder, ...more])
  const straight = await run(whole)
  if (straight.code !== 0) throw new Error(straight.stderr)
  if (!/each of 2 devices has a copy of the model and a slice of every mini-batch/.test(straight.stderr))
    throw new Error(straight.stderr)
  const first = await run(broken, '--max-steps', '4')
  if (first.code !== 0) throw new Error(first.stderr)
  const second = await runHere(['train', '--resume', broken, '--max-steps', '10', '--devices', '2', '--in-process'])
  if (second.code !== 0) throw new Error(second.stderr)
  // The run that ended after 4 mini-batches was evaluated there, too.
  assertSameTensors(broken, whole)
})

test('flags that make no sense are refused in one line', async () => {
  const checkpoint = ['--checkpoint', join(work, 'one', 'model.safetensors')]
  await expectUserError(train(join(work, 'no'), '--devices', '2'), /--devices goes with --mode devices/)
  await expectUserError(['eval', ...checkpoint, '--in-process'], /--in-process goes with --mode devices/)
  for (const devices of ['1', '0', 'lavapipe', ',']) {
    await expectUserError(
      train(join(work, 'no'), '--mode', 'devices', '--devices', devices),
      /--devices .*(is not a number from 2|is neither)/,
    )
  }
  const named = await runHere(['eval', ...checkpoint, '--mode', 'devices', '--devices', 'no-such,device'])
  if (named.code !== 2 || !/no adapter is "no-such"/.test(named.stderr)) throw new Error(`code ${named.code}: ${named.stderr}`)
  const many = ['--mode', 'devices', '--devices', '4']
  await expectUserError(['eval', ...checkpoint, ...many], /3 branches cannot be spread over 4 devices; use at most 3/)
  await expectUserError(train(join(work, 'no'), ...many), /3 branches cannot be spread over 4 devices; use at most 3/)
  await expectUserError(
    train(join(work, 'no'), '--mode', 'devices', '--data', 'device'),
    /--data device: in --mode devices the host makes the batches; use --data host or another mode/,
  )
  const vit = join(work, 'vit', 'model.safetensors')
  await expectUserError(['eval', '--checkpoint', vit, '--mode', 'devices'], /a vit has no branches to spread/)
})

test('ends', () => rmSync(work, { recursive: true }))
run()
