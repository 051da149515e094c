// The report reads run and study folders, and draws the conclusions that they hold.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UserError } from '../../engine/base/errors.ts'
import { saveSafetensors } from '../../train/checkpoint/files.ts'
import { acrossDatasets, armsOf, summarize } from '../../train/study/report/arms.ts'
import { type Claim, decide } from '../../train/study/report/claims.ts'
import { trainCommand } from '../../train/study/report/commands.ts'
import { prefixCosts } from '../../train/study/report/costs.ts'
import { csv, jsonl } from '../../train/study/report/data.ts'
import { drawnPrefixes } from '../../train/study/report/figure.ts'
import { makeReport } from '../../train/study/report/index.ts'
import { finalScores, metricOfRun, type Run } from '../../train/study/report/record.ts'
import { readRunFolder } from '../../train/study/report/runFolder.ts'
import { readFolder, readStudyFolder } from '../../train/study/report/studyFolder.ts'
import { thinned } from '../../train/study/report/thin.ts'
import { suite } from '../harness/suite.ts'
import { equal as equalNamed } from '../train/equal.ts'
import { rejects } from '../train/userError.ts'
import { config, lossAt, type StudyOptions, writeNestedRun, writeRun, writeStudy } from './reportFixtures.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-report-'))
let folders = 0
const place = () => join(work, String(folders++))
const { test, run } = suite('report: data')
const equal = (found: unknown, expected: unknown) => equalNamed(found, expected, 'found')
const noNote = (text: string) => {
  throw new Error(`noted: ${text}`)
}

test('a run folder gives every point of its curves, its config and its result', async () => {
  const folder = place()
  writeRun(folder)
  const found = await readRunFolder(folder, noNote)
  equal(found.points.length, 27)
  const last = found.points.filter(({ split }) => split === 'test').at(-1)!
  equal(last, { epoch: 2, step: 6, prefix: 3, split: 'test', seconds: 3, flops: 6e9, loss: lossAt(2, 3), accuracy: 0.8 })
  equal([found.seed, found.dataset, found.testImages, found.result.trainingFlops], [3, 'fashion-mnist', 10000, 6e9])
  equal(metricOfRun(found, 'testAccuracy'), 0.8)
  equal(metricOfRun(found, 'final.test.loss.0'), lossAt(2, 1))
  equal(metricOfRun(found, 'warmSeconds'), 0.1)
  equal(metricOfRun(found, 'constructor.length'), undefined)
})

test('a run of before metrics were flat gives its curves, and settings and config from its checkpoint', async () => {
  const folder = place()
  writeNestedRun(folder)
  const training = { settings: { dataset: 'mnist', seed: 9, testImages: 50 } }
  const metadata = { config: JSON.stringify(config(3)), training: JSON.stringify(training) }
  await saveSafetensors(join(folder, 'checkpoint.safetensors'), {}, metadata)
  const found = await readRunFolder(folder, noNote)
  equal([found.seed, found.dataset, found.testImages], [9, 'mnist', 50])
  equal(found.config, config(3))
  const prefixesAt = (step: number) => found.points.filter((p) => p.split === 'train' && p.step === step).map((p) => p.prefix)
  equal([prefixesAt(1), prefixesAt(2), prefixesAt(3)], [[1, 2, 3], [1, 2, 3], [3]])
  equal(finalScores(found, 'test')?.accuracy, [0.625, 0.625, 0.625])
  equal(
    found.points.filter(({ split }) => split === 'test').map(({ seconds }) => seconds),
    [4, 8, 4, 8, 4, 8],
  )
})

test('a line that is no metric is skipped with a note, and a loss that is not finite is kept', async () => {
  const folder = place()
  const bad = { time: 4, epoch: 3, pass: 0, step: 8, prefix: 3, split: 'test', loss: null, accuracy: 0.1 }
  writeRun(folder, { more: ['{"time": 1, "ep', 'null', '[]', { ...bad, prefix: 0 }, bad] })
  const notes: string[] = []
  const found = await readRunFolder(folder, (text) => notes.push(text))
  equal(notes.length, 1)
  if (!/metrics\.jsonl: 4 lines are no metrics/.test(notes[0]!)) throw new Error(notes[0])
  equal(found.points.length, 28)
  equal(found.points.find(({ step }) => step === 8)?.loss, Number.NaN)
})

test('curves of training become means, and of evaluations some remain with the last one', () => {
  const curve = (split: 'train' | 'test', count: number) =>
    Array.from({ length: count }, (_, i) => ({ split, prefix: 1, epoch: 0, step: i + 1, loss: i, accuracy: 0 }))
  const means = thinned(curve('train', 1000))
  equal([means.length, means[0]!.loss, means[0]!.step, means.at(-1)!.step], [100, 4.5, 10, 1000])
  const some = thinned(curve('test', 1001))
  if (some.length > 200 || some.at(-1)!.step !== 1001) throw new Error(`${some.length}`)
  equal(thinned(curve('train', 7)), curve('train', 7))
})

test('what is missing or of a newer version is one line', async () => {
  const none = join(work, 'none')
  await rejects(readFolder(none, noNote), /none: no such folder; name a folder with metrics\.jsonl/, UserError)
  const empty = place()
  mkdirSync(empty)
  await rejects(readFolder(empty, noNote), /holds neither a run nor a study/, UserError)
  const newer = place()
  writeRun(newer)
  writeFileSync(join(newer, 'settings.json'), JSON.stringify({ format: 2, everything: 'else' }))
  await rejects(readFolder(newer, noNote), /settings\.json: is of format 2, this version reads up to 1/, UserError)
  const study = place()
  writeStudy(study, { arms: { a: [0.5] }, registered: { format: 7 } })
  await rejects(readFolder(study, noNote), /registered\.json: is of format 7/, UserError)
  writeStudy(study, { arms: { a: [0.5] }, result: { registration: 'h2' } })
  await rejects(readFolder(study, noNote), /results\.jsonl, line 1: is a result of another registration/, UserError)
  writeStudy(study, { arms: { a: [0.5, 0.5] }, seeds: 1 })
  await rejects(readFolder(study, noNote), /line 2: seed 1 is not registered/, UserError)
  writeStudy(study, { arms: { a: [0.5] }, more: ['{"arm": "a"}'] })
  await rejects(readFolder(study, noNote), /results\.jsonl, line 2 is malformed: it lacks format/, UserError)
  writeStudy(study, { arms: { a: [0.5] }, registered: { hash: 'h1' } })
  await rejects(readFolder(study, noNote), /registered\.json: its hash is not that of its statement/, UserError)
  const bare = place()
  mkdirSync(bare)
  const notes: string[] = []
  writeFileSync(join(bare, 'metrics.jsonl'), '')
  equal((await readRunFolder(bare, (text) => notes.push(text))).points, [])
  if (!/has neither settings\.json nor a checkpoint/.test(notes.join())) throw new Error(notes.join())
})

const RULE = { claim: 'a is better', compare: ['a', 'b'], better: 'higher' }
const BASE = [0.8, 0.805, 0.81, 0.795, 0.8025]
const above = (gain: number, wobble = 0.001) => BASE.map((value, i) => value + gain + (i % 2 === 0 ? wobble : -wobble))

async function decided(options: StudyOptions): Promise<Claim[]> {
  const folder = place()
  writeStudy(folder, options)
  return decide(await readStudyFolder(folder, noNote))
}

test('a planted null is inconclusive, a planted effect supported, its opposite not', async () => {
  const verdictOf = async (options: StudyOptions) => (await decided({ rules: [RULE], ...options }))[0]!.verdict
  equal(await verdictOf({ arms: { a: BASE, b: BASE } }), 'inconclusive')
  equal(await verdictOf({ arms: { a: above(0.0001, 0.004), b: BASE } }), 'inconclusive')
  equal(await verdictOf({ arms: { a: above(0.1), b: BASE } }), 'supported')
  equal(await verdictOf({ arms: { a: BASE, b: above(0.1) } }), 'not supported')
  equal(await verdictOf({ arms: { a: above(0.1), b: BASE }, rules: [{ ...RULE, better: 'lower' }] }), 'not supported')
  equal(await verdictOf({ arms: { a: above(0.1), b: BASE }, rules: [{ ...RULE, margin: 0.2 }] }), 'not supported')
  equal(await verdictOf({ arms: { a: above(0.1), b: BASE }, rules: [{ ...RULE, margin: 0.05 }] }), 'supported')
  const lower = { ...RULE, compare: ['b', 'a'], better: 'lower', margin: 0.05 }
  equal(await verdictOf({ arms: { a: above(0.1), b: BASE }, rules: [lower] }), 'supported')
})

test('a comparison may have a metric of its own, or one for each arm', async () => {
  const arms = { a: BASE, b: BASE }
  const first = 'final.test.accuracy.0'
  const of = async (metric: unknown) => (await decided({ arms, rules: [{ ...RULE, metric }] }))[0]!.comparisons[0]!
  const both = await of([first, 'testAccuracy'])
  equal([both.verdict, both.sides], ['not supported', ['a (test accuracy of prefix 1)', 'b']])
  const shared = await of(first)
  equal([shared.verdict, shared.difference!.mean, shared.metrics], ['inconclusive', 0, [first, first]])
  equal((await of('measures.forgetting')).sides, ['a (forgetting)', 'b (forgetting)'])
})

test('no verdict comes from few seeds, from unfinished ones, or from a run that ended in NaN', async () => {
  const four = { a: above(0.1).slice(0, 4), b: BASE.slice(0, 4) }
  const [few] = await decided({ arms: four, rules: [RULE], seeds: 4 })
  equal([few!.verdict, few!.comparisons[0]!.reason], ['inconclusive', '4 paired seeds; a verdict takes 5'])
  const [unfinished] = await decided({ arms: { a: above(0.1), b: BASE }, rules: [RULE], seeds: 7 })
  equal([unfinished!.verdict, unfinished!.comparisons[0]!.reason], ['inconclusive', '2 of 7 registered seeds are not done'])
  const [spoiled] = await decided({ arms: { a: above(0.1), b: [...BASE.slice(1), null] }, rules: [RULE] })
  equal([spoiled!.verdict, spoiled!.comparisons[0]!.reason], ['inconclusive', 'a run ended in a number that is not finite'])
  const ended = ['diverged', ...BASE.slice(1)] as const
  const [diverged] = await decided({ arms: { a: above(0.1), b: ended }, rules: [RULE] })
  equal([diverged!.verdict, diverged!.comparisons[0]!.reason], ['inconclusive', 'diverged: b at seed 0'])
  equal(diverged!.comparisons[0]!.seeds, [0, 1, 2, 3, 4])
  const [none] = await decided({ arms: { a: BASE }, rules: [RULE] })
  equal([none!.verdict, none!.comparisons[0]!.seeds], ['inconclusive', []])
})

test('a run that diverged is counted, and leaves its arm without mean', async () => {
  const folder = place()
  writeStudy(folder, { arms: { a: BASE, b: ['diverged', ...BASE.slice(1)] }, rules: [RULE] })
  const { html, data } = await makeReport([folder])
  const [a, b] = armsOf((await readStudyFolder(folder, noNote)).runs).map((runs) => summarize(runs, 'testAccuracy'))
  equal([a!.diverged, a!.values.length, b!.diverged, b!.values.length], [0, 5, 1, 5])
  equal([a!.mean === undefined, b!.mean, b!.low], [false, undefined, undefined])
  equal(data.runs!.rows.map((row) => row[data.runs!.columns.indexOf('diverged')]).filter(Boolean), ['NaN'])
  if (!html.includes('diverged: b at seed 0')) throw new Error('the page does not say it')
})

test('a claim needs all its comparisons, corrected by Holm; seeds that are not registered do not count', async () => {
  const arms = { a: above(0.1), b: BASE, c: above(0.1) }
  const both = [RULE, { ...RULE, compare: ['a', 'c'] }]
  const [claim] = await decided({ arms, rules: both })
  equal([claim!.verdict, claim!.comparisons.map(({ verdict }) => verdict)], ['inconclusive', ['supported', 'inconclusive']])
  const [alone] = await decided({ arms, rules: [RULE] })
  if (!(claim!.comparisons[0]!.p! === 2 * alone!.comparisons[0]!.p!)) throw new Error(`${claim!.comparisons[0]!.p}`)
  const extra = { a: [...above(0.1), 0], b: [...BASE, 0] }
  const fewer = [{ statement: { seeds: [0, 1, 2, 3, 4] } }]
  const [some] = await decided({ arms: extra, rules: [RULE], seeds: 6, deviations: fewer })
  equal(some!.comparisons[0]!.seeds, [0, 1, 2, 3, 4])
})

test('a rule of a deviation is decided as one that was stated later', async () => {
  const later = { ...RULE, claim: 'b is better', compare: ['b', 'a'] }
  const deviations = [{ statement: { decisionRule: [RULE, later] } }]
  const claims = await decided({ arms: { a: above(0.1), b: BASE }, rules: [RULE], deviations })
  equal(
    claims.map(({ claim, later, verdict }) => [claim, later, verdict]),
    [
      ['a is better', false, 'supported'],
      ['b is better', true, 'not supported'],
    ],
  )
})

test('prefixes have their parameters from the config of the settings, unless the model is one of the study', async () => {
  const folder = place()
  writeStudy(folder, { arms: { a: [0.5] } })
  const [known] = (await readStudyFolder(folder, noNote)).runs
  const costs = prefixCosts(known!)
  equal(
    costs.map(({ prefix }) => prefix),
    [1, 2, 3],
  )
  if (!(costs[0]!.parameters! < costs[1]!.parameters! && costs[2]!.flops! > costs[1]!.flops!)) throw new Error('not rising')
  writeStudy(folder, { arms: { a: [0.5] }, result: { parameters: 12345 } })
  const [own] = (await readStudyFolder(folder, noNote)).runs
  equal(
    prefixCosts(own!).map(({ parameters }) => parameters),
    [undefined, undefined, 12345],
  )
})

test('the interquartile mean is over the runs of arms that a study has on several data sets', () => {
  const of = (arm: string, dataset: string, accuracies: number[]) =>
    accuracies.map(
      (accuracy) =>
        ({ arm, dataset, points: [], result: { final: { test: { loss: [0], accuracy: [accuracy] } } } }) as unknown as Run,
    )
  const study = (id: string, preset: string, runs: Run[]) => ({ title: `${id} (${preset})`, statement: { id }, runs })
  const found = acrossDatasets([
    study('one', 'tiny', [...of('a', 'mnist', [0.1, 0.2]), ...of('b', 'mnist', [0.5])]),
    study('one', 'cifar', of('a', 'cifar-10', [0.4, 0.9])),
    study('other', 'cifar', of('b', 'cifar-10', [0.6])),
  ])
  equal(
    found.map(({ study, arm, datasets, runs }) => [study, arm, datasets, runs]),
    [['one', 'a', ['mnist', 'cifar-10'], 4]],
  )
  if (!(Math.abs(found[0]!.interquartileMean! - 0.3) < 1e-12)) throw new Error(`${found[0]!.interquartileMean}`)
})

test('tables become CSV and JSONL', () => {
  const table = {
    columns: ['a,b', 'c'],
    rows: [
      ['x "y"\nz', 0.1],
      [undefined, Number.NaN],
      [true, null],
    ],
  }
  equal(csv(table), '"a,b",c\r\n"x ""y""\nz",0.1\r\n,\r\ntrue,\r\n')
  equal(jsonl(table), '{"a,b":"x \\"y\\"\\nz","c":0.1}\n{"c":null}\n{"a,b":true,"c":null}\n')
})

test('many branches are drawn by a few prefixes, the first and the whole model among them', () => {
  equal(drawnPrefixes(3), [1, 2, 3])
  const few = drawnPrefixes(64)
  equal([few.length, few[0], few.at(-1)], [8, 1, 64])
})

test('a command trains with the settings that differ from the defaults', () => {
  const settings = {
    dataset: 'mnist',
    flip: true,
    download: false,
    randAugment: [2, 14],
    dataDir: "it's here",
    lr: 0.002,
    seed: 0,
  }
  const line = trainCommand({ settings, folder: 'runs/a' })
  equal(line, "npx paraformer train --data-dir 'it'\\''s here' --flip --rand-augment 2,14 --lr 0.002 --out runs/a")
})

test('ends', () => rmSync(work, { recursive: true }))

run()
