import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requestDevice } from '../../engine/index.ts'
import { expectUserError, runCli, runHere } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('paraformer bench')
const folder = await mkdtemp(join(tmpdir(), 'paraformer-bench-'))

async function bench(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await runHere(['bench', ...args])
  if (code !== 0) throw new Error(`${args.join(' ')}: code ${code}, ${stderr}${stdout}`)
  return { stdout, stderr }
}

test('--help names every flag', async () => {
  const { stdout } = await bench('--help')
  const flags = ['list', 'variant', 'filter', 'shape', 'batch', 'quick', 'time', 'timer', 'no-flush', 'adapter', 'json', 'csv']
  const missing = [...flags, 'tune', 'html', 'history', 'no-history'].filter((flag) => !stdout.includes(`--${flag}`))
  if (missing.length > 0) throw new Error(`no --${missing.join(', --')}`)
})

test('--list has every group', async () => {
  const lines = (await bench('--list')).stdout.trim().split('\n')
  for (const group of ['kernels', 'ops', 'layers', 'models']) {
    if (!lines.some((line) => line.startsWith(`${group}/`))) throw new Error(`nothing of ${group}`)
  }
})

test('--list --json is a list', async () => {
  const ids = JSON.parse((await bench('softmax', '--list', '--json')).stdout)
  if (!Array.isArray(ids) || !ids.some((id) => id.startsWith('kernels/softmax/direct'))) throw new Error(JSON.stringify(ids))
})

test('ops, layers and models take a variant without a kernel beside them', async () => {
  const ids = (await bench('models', '--variant', 'direct', '--list')).stdout.trim().split('\n')
  if (ids.length === 0 || !ids.every((id) => id.startsWith('models/'))) throw new Error(ids.join())
})

test('--json of a quick run, which no history keeps, and a page with a plot', async () => {
  const [history, page] = [join(folder, 'quick'), join(folder, 'roofline.html')]
  const { stdout, stderr } = await bench('fill', 'arange', '--quick', '--json', '--history', history, '--html', page)
  if (existsSync(history)) throw new Error('a quick run was kept')
  const report = JSON.parse(stdout)
  for (const name of ['gflops', 'gbps', 'dispatch', 'submit', 'readback']) {
    if (!(report.ceilings[name] >= 0)) throw new Error(`ceilings.${name} is ${report.ceilings[name]}`)
  }
  if (!report.device.name || !report.date || report.failures.length !== 0) throw new Error(stdout)
  const names = new Set(report.results.map(({ name }: { name: string }) => name))
  if (names.size !== 2) throw new Error(`results of ${[...names]}`)
  for (const result of report.results) {
    const {
      id,
      group,
      name,
      variant,
      shape,
      timer,
      median,
      p20,
      p80,
      samples,
      flops,
      bytes,
      gflops,
      gbps,
      bound,
      share,
      error,
    } = result
    if (id !== `${group}/${name}/${variant} ${shape}` || group !== 'kernels') throw new Error(id)
    const numbers = [median, p20, p80, samples, flops, bytes, gflops, gbps, share, error]
    if (!numbers.every(Number.isFinite) || !(p20 <= median && median <= p80 && median > 0))
      throw new Error(JSON.stringify(result))
    if (!['device', 'wall'].includes(timer) || !['compute', 'memory', 'dispatch'].includes(bound))
      throw new Error(JSON.stringify(result))
  }
  if (!stderr.includes('WebGPU on')) throw new Error(`stderr: ${stderr}`)
  const html = await readFile(page, 'utf8')
  if (!html.startsWith('<!doctype html>') || !html.includes('<svg') || !html.includes('kernels/fill')) throw new Error(html)
  if (/<script|https?:\/\/|src=/.test(html.replace('http://www.w3.org', '')))
    throw new Error('the page needs something from elsewhere')
})

test('the history is kept, compared with, and gone on with where its last line was not finished', async () => {
  const history = join(folder, 'history')
  const device = await requestDevice()
  const { name } = device.summary
  device.destroy()
  const file = `${name}.jsonl`
  const [id] = (await bench('fill', '--filter', 'kernels/', '--list')).stdout.split('\n')
  const times = { [id!]: [1, 1, 1] }
  const whole = `${JSON.stringify({ method: 2, date: 'then', times })}\n`
  await mkdir(history)
  await writeFile(join(history, file), whole + whole.slice(0, 50))
  const args = ['fill', '--filter', 'kernels/', '--time', '1', '--no-flush', '--history', history, '--json']
  const { results } = JSON.parse((await bench(...args)).stdout)
  const { previous } = results.find((result: { id: string }) => result.id === id)
  if (!(previous?.median === 1 && previous.date === 'then')) throw new Error(JSON.stringify(previous))
  const lines = (await readFile(join(history, file), 'utf8')).split('\n')
  if (lines.length !== 3 || `${lines[0]}\n` !== whole) throw new Error(lines.join('\n'))
  const kept = JSON.parse(lines[1]!)
  if (!(kept.times[id!].length === 3) || !kept.date) throw new Error(lines[1])
})

test("--shape times an op at any shape on the host's clock, --tune full finds out what it uses, --csv prints it", async () => {
  // The tuner's time may be up before a shape is done, where other programs run.
  const args = ['softmax', '--shape', '17x33', '--tune', 'full', '--quick', '--no-history', '--csv', '--timer', 'wall']
  const { code, stdout, stderr } = await runCli(['bench', ...args], { env: { XDG_CACHE_HOME: join(folder, 'cache') } })
  if (code !== 0 || !/^tuning: (1 shape|0 shapes) of kernels in .*; 0 known before, [01] left/m.test(stderr))
    throw new Error(stderr)
  const [head, ...rows] = stdout.trim().split('\n')
  const columns = head!.split(',')
  if (columns[0] !== 'group' || !columns.includes('median')) throw new Error(stdout)
  if (rows.length !== 1 || !/^ops,softmax,forward,"\[17, 33\]",wall,/.test(rows[0]!)) throw new Error(stdout)
})

test('forward passes of layers and models do their work: none passes its ceiling', async () => {
  const args = ['layers', 'models', '--batch', '1', '--filter', 'forward quick', '--time', '1', '--no-history', '--json']
  const { results } = JSON.parse((await bench(...args)).stdout)
  if (results.length !== 5) throw new Error(`${results.length} results`)
  for (const { id, share, gflops, median, ceilings } of results) {
    if (!(share > 0 && share <= 1.05 && ceilings.gflops > 0))
      throw new Error(`${id}: ${median} ms, ${gflops} GFLOP/s, ${share}`)
  }
})

const BAD: [args: string[], message: RegExp][] = [
  [['--fast'], /unknown option '--fast'.*paraformer bench --help/],
  [['sofmax'], /nothing to time is called "sofmax"; did you mean softmax\?; there are kernels, ops/],
  [['queryGradient'], /nothing to time is called "queryGradient"; did you mean attentionQueryGradient\?/],
  [['--filter', '('], /--filter \( is no regular expression/],
  [['--filter', 'nothing like this'], /leaves nothing to time/],
  [['models', '--variant', 'magic'], /no kernel chosen has a variant "magic" on this device; there are [a-z]/],
  [['softmax', '--variant', 'magic'], /no kernel chosen has a variant "magic" on this device; there are direct/],
  [['--shape', '4x4x4'], /--shape needs the name of an op/],
  [['matmul', '--shape', '4x4'], /--shape 4x4: matmul takes MxKxN/],
  [['matmul', '--shape', '4x-4x4'], /--shape 4x-4x4: matmul takes MxKxN/],
  [['dropout', '--shape', '4'], /--shape goes with ops of these names: matmul/],
  [['--json', '--csv'], /--json.*cannot be used with.*--csv/],
  [['--time', '0'], /--time.*whole number from 1 to /],
  [['--batch', 'many'], /--batch.*must be a number/],
  [['--timer', 'sundial'], /--timer.*device, wall/],
  [['fill', '--adapter', 'abacus'], /no adapter is "abacus"/],
]

for (const [args, message] of BAD) test(`bench ${args.join(' ')}`, () => expectUserError(['bench', ...args], message))

test('a history that is none', async () => {
  const history = join(folder, 'history')
  const [file] = await readdir(history)
  const path = join(history, file!)
  await writeFile(path, 'not json\n')
  await expectUserError(['bench', 'fill', '--quick', '--history', history], /line 1 is no run of paraformer bench/)
})

test('Ctrl-C ends after what is timed, and shows what was', async () => {
  let sent = false
  const { code, stdout, stderr } = await runCli(['bench', '--time', '1', '--no-flush', '--no-history', '--json'], {
    onStderr(text, kill) {
      if (sent || !/WebGPU on/.test(text)) return
      sent = true
      kill('SIGINT')
    },
  })
  if (code !== 130 || !/ending after what is timed now/.test(stderr)) throw new Error(`code ${code}: ${stderr}`)
  const { results } = JSON.parse(stdout)
  if (!(results.length < 10)) throw new Error(`${results.length} results`)
})

test('ends', () => rm(folder, { recursive: true, force: true }))

run()
