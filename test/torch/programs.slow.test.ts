// Runs 1,000 random programs over all ops here and in PyTorch, in float64, and compares values and gradients.
// PARAFORMER_PROGRAMS=0-20 takes other seeds.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { mul, requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import { note, suite } from '../harness/suite.ts'
import { drawProgram } from './draw.ts'
import { OPS } from './ops.ts'
import { leavesOf, type Program } from './program.ts'
import { RULES } from './rules.ts'

const device = await requestDevice()
const { test, run } = suite(`random programs beside PyTorch on ${device.summary.name}`)
const [first = 0, last = 999] = (process.env.PARAFORMER_PROGRAMS ?? '0-999').split('-').map(Number)
const STEPS = 8

interface Answer {
  error?: string
  shapes: number[][]
  values: (number | null)[][]
  gradients: ((number | null)[] | null)[]
}

/** The largest error of values relative to their norm, or to 1 where that is larger. */
function error(found: ArrayLike<number>, wanted: readonly (number | null)[]): number {
  if (found.length !== wanted.length) return Number.NaN
  let [difference, norm] = [0, 1]
  for (let i = 0; i < wanted.length; i++) {
    // PyTorch gives NaN where a derivative does not exist, as that of std where all are equal.
    if (wanted[i] === null) continue
    difference += (found[i]! - wanted[i]!) ** 2
    norm += wanted[i]! ** 2
  }
  return Math.sqrt(difference / norm)
}

/** Compares the values and gradients of a program. @returns what differs, one line each */
async function differences(program: Program, answer: Answer): Promise<string[]> {
  const leaves = leavesOf(program)
  const values = [...leaves]
  for (const { op, inputs, args } of program.steps)
    values.push(
      OPS[op]!(
        inputs.map((i) => values[i]!),
        args,
      ),
    )
  const parts = program.cotangents.map(([i, weights]) => mul(values[i]!, tensor(weights, { shape: values[i]!.shape })).sum())
  if (parts.length > 0) parts.reduce((a, b) => a.add(b)).backward()
  const found: string[] = []
  for (const [k, { op, args }] of program.steps.entries()) {
    const t = values[leaves.length + k]!
    const [shape, wanted] = [answer.shapes[k]!, answer.values[k]!]
    if (`${t.shape}` !== `${shape}`) found.push(`${k} ${op}: shape [${t.shape}], not [${shape}]`)
    const e = error(await t.data(), wanted)
    if (!(e <= 1e-5)) found.push(`${k} ${op} ${JSON.stringify(args)}: error ${e}`)
  }
  for (const [i, gradient] of answer.gradients.entries()) {
    const grad: Tensor | undefined = leaves[i]!.grad
    // PyTorch gives no gradient, or zeros, to what the loss does not depend on.
    if (!grad || !gradient) {
      const given = grad ? [...(await grad.data())] : (gradient ?? [])
      if (given.some((value) => value !== 0)) found.push(`gradient of leaf ${i} is missing on one side`)
      continue
    }
    const e = error(await grad.data(), gradient)
    if (!(e <= 1e-4)) found.push(`gradient of leaf ${i}: error ${e}`)
  }
  return found
}

test('values and gradients are those of PyTorch', async () => {
  const python = ['/usr/bin/python3', 'python3'].find((name) => spawnSync(name, ['-c', 'import torch']).status === 0)
  if (!python) throw new Error('no python3 has torch; install it (Debian: apt-get install python3-torch)')
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-torch-'))
  const programs: Program[] = []
  for (let seed = first; seed <= last; seed++) programs.push(await drawProgram(seed, STEPS, RULES))
  writeFileSync(join(folder, 'programs.json'), JSON.stringify(programs))
  const { status, stderr } = spawnSync(python, [resolve('test/torch/programs.py'), folder], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  })
  if (status !== 0) throw new Error(stderr)
  // Python writes NaN and Infinity, which JSON does not have.
  const text = readFileSync(join(folder, 'answers.json'), 'utf8').replace(/-?\b(NaN|Infinity)\b/g, 'null')
  const answers: Answer[] = JSON.parse(text)
  rmSync(folder, { recursive: true })
  const failed: string[] = []
  const used = new Map<string, number>()
  for (const [i, program] of programs.entries()) {
    for (const { op } of program.steps) used.set(op, (used.get(op) ?? 0) + 1)
    const answer = answers[i]!
    const found = answer.error ? [answer.error] : await differences(program, answer)
    if (found.length > 0)
      failed.push(`seed ${first + i} (${program.steps.map(({ op }) => op).join(' ')}):\n  ${found.join('\n  ')}`)
  }
  const unused = Object.keys(RULES).filter((name) => !used.has(name))
  if (last - first > 500 && unused.length > 0) throw new Error(`no program has ${unused}`)
  if (failed.length > 0) throw new Error(`${failed.length} of ${programs.length}:\n${failed.slice(0, 12).join('\n')}`)
  note(`${programs.length} programs, ${[...used.values()].reduce((a, b) => a + b)} steps of ${used.size} ops`)
})

run()
