import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { isAlive } from '../../engine/platform/files.ts'
import { startProcess } from '../../engine/platform/process.ts'
import { runCli, runHere } from '../harness/cli.ts'
import { quick, suite } from '../harness/suite.ts'
import { equal } from './equal.ts'
import { smallDisk } from './fullDisk.ts'
import { assertSameBits, metricLines, stepsIn, TINY, trainingOf } from './runs.ts'

// Evaluations must take a while.
delete process.env.PARAFORMER_DATA

const work = mkdtempSync(join(tmpdir(), 'paraformer-interrupts-'))
const CLI = fileURLToPath(new URL('./cli.js', import.meta.url))
const { test, slow, run } = suite('interrupted runs')

const train = (folder: string, ...args: string[]) => ['train', ...TINY, '--out', folder, ...args]
const codeOf = (signal: NodeJS.Signals) => 128 + constants.signals[signal]

/** Calls `act` once, as soon as `when` holds. */
function once(when: () => boolean, act: () => void): void {
  const waiting = setInterval(() => {
    if (!when()) return
    clearInterval(waiting)
    act()
  }, 2).unref()
}

/** Folders of undisturbed runs by their flags, each made once. */
const whole = new Map<string, Promise<string>>()
function undisturbed(...args: string[]): Promise<string> {
  const key = args.join(' ')
  if (!whole.has(key)) {
    const folder = join(work, `whole${whole.size}`)
    const made = runHere(train(folder, ...args)).then(({ code, stderr }) => {
      if (code !== 0) throw new Error(stderr)
      return folder
    })
    whole.set(key, made)
  }
  return whole.get(key)!
}

/** Resumes a run to its end. Fails unless it ends with the bits of an undisturbed run. */
async function assertGoesOn(folder: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await runHere(['train', '--resume', folder])
  if (code !== 0) throw new Error(stderr)
  assertSame(folder, await undisturbed(...args))
}

function assertSame(folder: string, other: string): void {
  assertSameBits(folder, other)
  equal(metricLines(folder), metricLines(other), 'metrics')
}

// Evaluations of 40 batches, which take a while.
const LONG = ['--test-images', '10000']

const SIGNALS = quick ? (['SIGTERM'] as const) : (['SIGTERM', 'SIGHUP', 'SIGINT'] as const)

for (const signal of SIGNALS) {
  test(`${signal} during an evaluation ends it between its batches; what was trained is saved, and the evaluation comes next`, async () => {
    const folder = join(work, `evaluation-${signal}`)
    let ended = 0
    const { code, stderr } = await runCli(train(folder, ...LONG), {
      onStderr: (() => {
        let begun = false
        return (_: string, kill: (signal: NodeJS.Signals) => void) => {
          if (begun) return
          begun = true
          once(
            () => stepsIn(metricLines(folder)) === 8,
            () => {
              ended = performance.now()
              kill(signal)
            },
          )
        }
      })(),
    })
    const seconds = (performance.now() - ended) / 1000
    if (code !== codeOf(signal) || !/saved after mini-batch 8; go on with: .*--resume/.test(stderr))
      throw new Error(`code ${code}: ${stderr}`)
    const { position, history, evaluationDue } = trainingOf(folder)
    equal([position.epoch, position.step, history.length, evaluationDue], [1, 8, 0, true], 'position')
    if (!(seconds < 10)) throw new Error(`${seconds} s`)
    // A checkpoint does not depend on the signal, so that of one is gone on from.
    if (signal === 'SIGTERM') await assertGoesOn(folder, ...LONG)
  })
}

test('a signal while a run is prepared ends it at once, and nothing of it is left', async () => {
  for (const signal of SIGNALS) {
    const folder = join(work, `prepared-${signal}`)
    let sent = false
    const { code, stderr } = await runCli(train(folder, '--tune', 'full'), {
      onStderr(text, kill) {
        if (sent || !/WebGPU on/.test(text)) return
        sent = true
        kill(signal)
      },
    })
    if (code !== codeOf(signal) || !new RegExp(`ended by ${signal} before a mini-batch was done`).test(stderr))
      throw new Error(`code ${code}: ${stderr}`)
    equal(existsSync(folder), false, 'the folder is there')
  }
})

test('a worker that hangs delays the end by seconds: the last checkpoint is kept, which is said', async () => {
  const folder = join(work, 'hung')
  let [asked, hung] = [0, 0]
  const begin = { done: false }
  const { code, stderr } = await runCli(train(folder, '--epochs', '200', '--mode', 'devices', '--save-every', '1'), {
    onStderr(text, kill) {
      if (begin.done || !/mnist: /.test(text)) return
      begin.done = true
      once(
        () => existsSync(join(folder, 'checkpoint.safetensors')) && trainingOf(folder).position.step > 0,
        () => {
          hung = Number(/\(process (\d+)\)/.exec(text)![1])
          process.kill(hung, 'SIGSTOP')
          asked = performance.now()
          kill('SIGTERM')
        },
      )
    },
  })
  const seconds = (performance.now() - asked) / 1000
  const said =
    /does not answer any more[\s\S]*mini-batches after the last save are lost; the checkpoint of mini-batch (\d+) is whole/.exec(
      stderr,
    )
  if (code !== codeOf('SIGTERM') || !said) throw new Error(`code ${code}: ${stderr}`)
  equal(trainingOf(folder).position.step, Number(said[1]), 'mini-batch of the checkpoint')
  equal(isAlive(hung), false, 'the worker lives on')
  // The run saves or gives up within 5 s; the limit is larger for a busy machine.
  if (!(seconds < 10)) throw new Error(`${seconds} s`)
})

slow('a worker that hangs does not outlive an evaluation that a signal ends', async () => {
  const model = join(await undisturbed(), 'model.safetensors')
  let hung = 0
  const { code, stderr } = await runCli(['eval', '--checkpoint', model, '--mode', 'devices'], {
    onStderr(text, kill) {
      if (hung || !/branches live on/.test(text)) return
      hung = workersOf(text)[0]!
      process.kill(hung, 'SIGSTOP')
      kill('SIGTERM')
    },
  })
  if (code !== codeOf('SIGTERM')) throw new Error(`code ${code}: ${stderr}`)
  await until(() => !isAlive(hung), 'the end of the worker')
})

test('a closed terminal loses no work: its signal reaches trainer and workers, and nothing can be printed any more', async () => {
  const folder = join(work, 'terminal')
  const args = train(folder, '--epochs', '200', '--mode', 'devices', '--save-every', '1000000')
  const terminal = inTerminal(args)
  await until(() => stepsIn(metricLines(folder)) > 2, 'mini-batches')
  const trainer = Number(readFileSync(join(folder, 'run.lock'), 'utf8').split(' ')[1])
  const workers = workersOf(terminal.text())
  equal(workers.length, 1, 'workers')
  // The terminal ends without a signal to the program in it, as when a window is closed.
  terminal.child.kill('SIGKILL')
  await until(() => ![trainer, ...workers].some(isAlive), 'the end of all processes')
  const { position } = trainingOf(folder)
  if (!(position.step > 2)) throw new Error(`saved at mini-batch ${position.step}`)
  equal(stepsIn(metricLines(folder)), position.step, 'metrics')
  equal(existsSync(join(folder, 'run.lock')), false, 'the lock is there')
})

test('Ctrl-C on a terminal: twice ends a run at once and leaves the terminal as it was, once ends an evaluation', async () => {
  const folder = join(work, 'twice')
  const twice = inTerminal(train(folder, '--epochs', '200', '--save-every', '1000000', ...LONG))
  await until(() => stepsIn(metricLines(folder)) > 2, 'mini-batches')
  twice.child.stdin!.write('\x03')
  await sleep(300)
  twice.child.stdin!.write('\x03')
  equal(await twice.ended, 130, twice.text())
  assertTerminalAsBefore(twice.text())
  const model = join(await undisturbed(), 'model.safetensors')
  const once = inTerminal(['eval', '--checkpoint', model])
  await until(() => /images/.test(once.text()), 'the evaluation')
  once.child.stdin!.write('\x03')
  equal(await once.ended, 130, once.text())
  assertTerminalAsBefore(once.text())
})

test('a disk that is full for a while costs nothing: metrics wait, a checkpoint that fails is written with the next', async () => {
  const disk = smallDisk(join(work, 'disk'), 256)
  // Only root can mount a disk.
  if (!disk) return
  try {
    const folder = join(disk.path, 'run')
    let step = 'begin'
    const { code, stderr } = await runCli(train(folder, '--save-every', '1'), {
      onStderr(text) {
        if (step === 'begin' && /mnist: /.test(text)) {
          step = 'wait'
          once(
            () => existsSync(join(folder, 'checkpoint.safetensors')),
            () => {
              disk.fill()
              step = 'full'
            },
          )
        }
        if (step === 'full' && /cannot be written \(ENOSPC\).*the next save tries again/.test(text)) {
          step = 'free'
          disk.free()
        }
      },
    })
    if (code !== 0 || step !== 'free') throw new Error(`code ${code}, ${step}: ${stderr}`)
    assertSame(folder, await undisturbed())
  } finally {
    disk.remove()
  }
})

slow(
  'a disk that stays full ends the run only at its end, with its result and an error; the last checkpoint is whole',
  async () => {
    const disk = smallDisk(join(work, 'full'), 256)
    if (!disk) return
    try {
      const folder = join(disk.path, 'run')
      let begun = false
      const { code, stdout, stderr } = await runCli(train(folder, '--save-every', '1', '--json'), {
        onStderr(text) {
          if (begun || !/mnist: /.test(text)) return
          begun = true
          once(
            () => existsSync(join(folder, 'checkpoint.safetensors')),
            () => disk.fill(),
          )
        },
      })
      if (code !== 2 || !/paraformer: .*cannot be written \(ENOSPC\)/.test(stderr)) throw new Error(`code ${code}: ${stderr}`)
      equal(JSON.parse(stdout).prefixes.length, 2, 'results')
      disk.free()
      await assertGoesOn(folder)
    } finally {
      disk.remove()
    }
  },
)

test('many processes of branches share one listener of each kind, which go with the last', async () => {
  const entry = join(work, 'worker.mjs')
  writeFileSync(entry, "process.on('message', () => {}); process.send('here')")
  const events = ['exit', 'SIGINT', 'SIGTERM', 'SIGHUP'] as const
  const counts = () => events.map((event) => process.listenerCount(event))
  const before = counts()
  const warnings: Error[] = []
  const hear = (warning: Error) => warnings.push(warning)
  process.on('warning', hear)
  const processes = Array.from({ length: 12 }, () => startProcess(pathToFileURL(entry), () => {}))
  equal(
    counts(),
    before.map((count) => count + 1),
    'listeners',
  )
  await Promise.all(processes.map((child) => child.end()))
  await sleep(10)
  process.off('warning', hear)
  equal(counts(), before, 'listeners after the end')
  equal(warnings.map(String), [], 'warnings')
})

const workersOf = (text: string) => [...text.matchAll(/\(process (\d+)\)/g)].map((match) => Number(match[1]))

/** Runs the command line in a terminal of its own; text that is written to stdin is typed there. */
function inTerminal(args: readonly string[]) {
  const command = [process.execPath, CLI, ...args].map((word) => `'${word}'`).join(' ')
  const child = spawn('script', ['-qefc', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', (piece) => {
    text += piece
  })
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  return { child, ended, text: () => text }
}

async function until(holds: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 120_000
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`in vain waited for ${what}`)
    await sleep(5)
  }
}

/** Fails unless the text shows the cursor, and turns line wrapping on, after it has changed them. */
function assertTerminalAsBefore(text: string): void {
  for (const [off, on] of [
    ['\x1b[?25l', '\x1b[?25h'],
    ['\x1b[?7l', '\x1b[?7h'],
  ] as const) {
    if (text.lastIndexOf(off) > text.lastIndexOf(on)) throw new Error(`${JSON.stringify(off)} is left`)
  }
}

test('ends', () => rmSync(work, { recursive: true }))
run()
