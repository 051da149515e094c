import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { transformSync } from 'esbuild'
import { loadSafetensors } from '../../train/checkpoint/files.ts'
import type { SafetensorsFile } from '../../train/checkpoint/safetensors.ts'
import { suite } from '../harness/suite.ts'

const { test, slow, run } = suite('README and docs')
const readme = readFileSync('README.md', 'utf8')

const [example] = examplesOf('README.md')
const [perceptron, optimized, captured, trained] = examplesOf('docs/own-model.md')
const [distributed] = examplesOf('docs/devices.md')
const [study] = examplesOf('docs/studies.md')

/** The TypeScript of a page, block by block. */
function examplesOf(page: string): string[] {
  return [...readFileSync(page, 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code!)
}

test('the library example runs as it stands, learns, and saves what it says', async () => {
  const { tensors, metadata } = await learns(example!)
  if (!tensors.has('branches.3.layers.0.mlp.fc2.bias') || !metadata.config) throw new Error([...tensors.keys()].join())
})

test('a module of its own learns', () => {
  checkLosses(start(perceptron!).stdout)
})

test('it learns with groups, a schedule and averages too', () => {
  const other = perceptron!
    .replace(/const optimizer = .*\n/, optimized!)
    .replace('optimizer.step(5e-3)', 'optimizer.step(rate(step), 1)\n    ema.update()')
    .replace('import { AdamW,', 'import { Ema, Sgd, schedule,')
  if (!other.includes('ema.update()') || other.includes('AdamW')) throw new Error(other)
  checkLosses(start(other).stdout)
})

test('its model can be trained as the command line does it', () => {
  const mine = 'class MyParaFormer extends ParaFormer {}\n'
  const names = 'checkSettings, evaluate, openData, ParaFormer, requestDevice, startTrainer'
  const small = trained!.replace('epochs: 1', 'maxSteps: 3, trainImages: 256, testImages: 100')
  const program = `import { ${names} } from 'paraformer'\nconst device = await requestDevice()\n${mine}${small}process.exit()\n`
  if (!program.includes('maxSteps: 3')) throw new Error(program)
  const said = start(program).stdout
  if (!/^1 \[ \[ [\d.]+ \] \]\n2 .*\n3 .*\n\[ [\d., ]+ \]\n$/.test(said.replace(/\s*\n\s+/g, ' '))) throw new Error(said)
})

test('its loop can be the captured one', async () => {
  const [loop] = /for \(let step[\s\S]*?\n}\n/.exec(example!) ?? []
  const other = example!.replace(loop!, captured!).replace('import { AdamW,', 'import { AdamW, capture,')
  if (!other.includes('capture((images: Tensor')) throw new Error(other)
  await learns(other)
})

test('its branches can live on two devices', async () => {
  const [loop] = /for \(let step[\s\S]*?await saveSafetensors.*\n/.exec(example!) ?? []
  const other = example!
    .replace(loop!, distributed!)
    .replace('import { AdamW,', 'import { AdamW, makeScheme, distributeBranches,')
  if (!other.includes('distributeBranches(model')) throw new Error(other)
  const { tensors, metadata } = await learns(other)
  if (!tensors.has('branches.3.layers.0.mlp.fc2.bias') || !metadata.config) throw new Error([...tensors.keys()].join())
})

/** Runs an example as a program. Fails unless it prints 30 losses that fall. @returns the model that it saves */
async function learns(example: string): Promise<SafetensorsFile> {
  const { work, stdout } = start(example)
  checkLosses(stdout)
  const file = await loadSafetensors(join(work, 'model.safetensors'))
  rmSync(work, { recursive: true })
  return file
}

/** Fails unless a program printed 30 losses that fall. */
function checkLosses(stdout: string): void {
  const losses = stdout
    .split('\n')
    .filter((line) => /^\d+ /.test(line))
    .map((line) => Number(line.split(' ')[1]))
  if (losses.length !== 30 || !(losses.at(-1)! < losses[0]! - 0.5)) throw new Error(stdout)
}

/** Runs an example as a program in a folder of its own. */
function start(example: string): { work: string; stdout: string } {
  const work = mkdtempSync(join(tmpdir(), 'paraformer-readme-'))
  const script = join(work, 'example.mjs')
  const own = example.replace("from 'paraformer'", `from '${new URL('./index.js', import.meta.url)}'`)
  writeFileSync(script, transformSync(own, { loader: 'ts' }).code)
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], { cwd: work, encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  return { work, stdout }
}

slow('its study is one', () => {
  const work = mkdtempSync(join(tmpdir(), 'paraformer-readme-'))
  writeFileSync(join(work, 'every-second.ts'), study!)
  const cli = fileURLToPath(new URL('./cli.js', import.meta.url))
  const args = ['study', 'run', 'every-second.ts', '--dry-run', '--seeds', '1']
  const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...args], { cwd: work, encoding: 'utf8' })
  rmSync(work, { recursive: true })
  if (status !== 0 || !/2 of 2 are missing/.test(stdout)) throw new Error(stdout + stderr)
})

test('every link of README and the pages leads to a file, and every file in docs is linked', () => {
  const pages = ['README.md', ...readdirSync('docs', { recursive: true }).map((name) => join('docs', String(name)))].filter(
    (name) => name.endsWith('.md') && !name.includes('node_modules'),
  )
  const targets = pages.flatMap((page) => {
    const text = readFileSync(page, 'utf8')
    return [...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, target]) => join(dirname(page), target!))
  })
  const broken = targets.filter((target) => !existsSync(target))
  const alone = pages.filter((page) => page !== 'README.md' && !targets.includes(page))
  if (targets.length < 20 || broken.length > 0 || alone.length > 0) throw new Error(`broken: ${broken}; not linked: ${alone}`)
})

test('the two commands of a fresh machine come first', () => {
  const [start, check] = [readme.indexOf('npm ci && npm start'), readme.indexOf('npm ci && npm test')]
  if (!(start > 0 && check > start && check < readme.indexOf('## '))) throw new Error(`at ${start} and ${check}`)
})

run()
