// The studies that come with the package, at every preset: their plans hold the budgets that they state.

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { countFlops, countParameters } from '../../model/index.ts'
import { DATASET_SHAPES, type DatasetName } from '../../train/data/names.ts'
import { checkSettings, modelConfigOf } from '../../train/settings.ts'
import { withParametersOf } from '../../train/study/plan/alike.ts'
import { Plan, type PlannedRun } from '../../train/study/plan/plan.ts'
import { type LoadedStudy, loadStudy, shippedResults, shippedStudies } from '../../train/study/plan/source.ts'
import { makeReport } from '../../train/study/report/index.ts'
import { filesIn } from '../../train/study/results/folder.ts'
import { currentStatement, readRegistered, statementOf } from '../../train/study/results/registration.ts'
import { readResults } from '../../train/study/results/results.ts'
import { runHere } from '../harness/cli.ts'
import { quick, suite } from '../harness/suite.ts'

const { test, run } = suite('studies that ship')
/** Studies whose runs were not kept beside their results. */
const RAN_BEFORE_EXPORTS = ['schemes', 'latency']

/** The data of a preset, as its files would give it. */
function dataOf(loaded: LoadedStudy, preset: string) {
  const dataset = checkSettings(loaded.study.presets[preset]!).dataset as DatasetName
  const { classes } = DATASET_SHAPES[dataset]
  const trainImages = dataset.startsWith('cifar') ? 50_000 : 60_000
  const imagesOfClass = Array<number>(classes).fill(trainImages / classes)
  return { name: dataset, ...DATASET_SHAPES[dataset], trainImages, testImages: 10_000, imagesOfClass, hash: 'd' } as const
}

interface Planned {
  study: LoadedStudy['study']
  preset: string
  runs: Map<string, PlannedRun>
  parametersOf: (arm: string) => number
}

/** The runs of the first seed, by arm. */
function planned(loaded: LoadedStudy, preset: string): Planned {
  const { study } = loaded
  const data = dataOf(loaded, preset)
  const plan = new Plan({ loaded, preset, data, place: {} })
  const runs = new Map(plan.runs(Object.keys(study.arms), [study.seeds[0]!]).map((run) => [run.arm, run]))
  const parametersOf = (arm: string) => countParameters(modelConfigOf(runs.get(arm)!.settings, data)).total
  return { study, preset, runs, parametersOf }
}

const names = await shippedStudies()
const loaded = new Map(await Promise.all(names.map(async (name) => [name, await loadStudy(name)] as const)))

/** Fails unless two numbers differ by at most a share of the second. */
function near(found: number, expected: number, share: number, what: string): void {
  assert.ok(Math.abs(found - expected) <= share * expected, `${what}: ${found} instead of ${expected}`)
}

test('there are six, each with a claim, five seeds or more, and the same four presets', () => {
  assert.equal(names, ['compression', 'depth', 'expansion', 'latency', 'schemes', 'vit'])
  for (const [name, { study }] of loaded) {
    assert.is(study.id, name)
    assert.ok(study.decisionRule.length > 0 && study.seeds.length >= 5, name)
    assert.equal(Object.keys(study.presets), ['tiny', 'small', 'cifar', 'paper'], name)
    for (const preset of Object.keys(study.presets)) {
      const { arms } = statementOf(study, preset)
      for (const [arm, { procedure }] of Object.entries(arms)) assert.equal(procedure, study.arms[arm]!.procedure, arm)
    }
  }
})

for (const [name, { study }] of loaded) {
  const folder = await shippedResults(name)
  if (folder === undefined) continue
  test(`${name}: the results that come with it are of what it states`, async () => {
    const { registered: path, results: lines } = filesIn(folder)
    const registered = (await readRegistered(path))!
    const stated = currentStatement(registered)
    assert.equal(stated, JSON.parse(JSON.stringify(statementOf(study, stated.preset))))
    const results = await readResults(lines, registered)
    assert.ok(results.length > 0)
    for (const { arm, seed, clean, final, measures, key } of results) {
      assert.ok(Object.hasOwn(study.arms, arm) && study.seeds.includes(seed), `${arm} ${seed}`)
      assert.is(clean, true, `the tree was clean in ${arm}, seed ${seed}`)
      // A run of an expansion has no final test score: it is tested on its tasks, and `measures.accuracy` holds the result.
      const expands = study.arms[arm]!.procedure?.name === 'expand'
      assert.ok(expands ? Number.isFinite(measures?.accuracy) : final.test, `${arm}, seed ${seed} was tested`)
      if (!RAN_BEFORE_EXPORTS.includes(name))
        assert.ok(existsSync(join(folder, 'runs', key)), `${arm}, seed ${seed} has its evaluations`)
    }
    if (quick) return
    const page = await makeReport([folder])
    assert.ok(page.figures >= 2 && page.html.includes('verdict'), `${page.figures} figures`)
    assert.equal(page.notes, [])
  })
}

for (const [name, study] of loaded) {
  for (const preset of Object.keys(study.study.presets)) {
    test(`${name}, ${preset}: arms are alike in what their budgets say`, () => {
      const { study: stated, runs, parametersOf } = planned(study, preset)
      const baseline = stated.baseline!
      for (const [arm, { budget }] of Object.entries(stated.arms)) {
        const { work } = runs.get(arm)!
        assert.ok(work.flops > 0 && work.miniBatches > 0, arm)
        const { equal, to } = typeof budget === 'object' ? budget : { equal: budget ?? stated.budget, to: baseline }
        const other = runs.get(to)!.work
        if (equal === 'parameters') near(parametersOf(arm), parametersOf(to), 0.005, `parameters of ${arm}`)
        if (equal === 'flops') near(work.flops, other.flops, 0.01, `FLOPs of ${arm}`)
        if (equal === 'steps') near(work.optimizerSteps, other.optimizerSteps, 0.002, `steps of ${arm}`)
      }
    })
  }
}

test('report shows, by the name of a study, the results that come with it', async () => {
  const work = mkdtempSync(join(tmpdir(), 'paraformer-shipped-'))
  const { code, stdout, stderr } = await runHere(['report', 'latency', '--out', join(work, 'latency.html')])
  assert.equal([code, stderr], [0, ''])
  assert.match(stdout, /^\d+ figures: .*latency\.html$/m)
  assert.match(readFileSync(join(work, 'latency.html'), 'utf8'), /Study latency \(tiny\)/)
  rmSync(work, { recursive: true })
})

test('vit: arms at equal FLOPs have the parameters of the others too, and as many trials', () => {
  for (const preset of ['tiny', 'small', 'cifar', 'paper']) {
    const { study, parametersOf } = planned(loaded.get('vit')!, preset)
    const alike = parametersOf('paraformer')
    for (const arm of Object.keys(study.arms)) near(parametersOf(arm), alike, 0.005, `${preset}: parameters of ${arm}`)
  }
})

test('depth: all arms have the same layers, and deep ones cost more', () => {
  for (const preset of ['tiny', 'small', 'cifar', 'paper']) {
    const { study, runs, parametersOf } = planned(loaded.get('depth')!, preset)
    for (const arm of Object.keys(study.arms)) assert.is(parametersOf(arm), parametersOf('shallow'), `${preset}: ${arm}`)
    const flops = (arm: string) => runs.get(arm)!.work.flops
    assert.ok(flops('shallow') < flops('square') && flops('square') < flops('deep'), preset)
  }
})

test('compression: models from scratch have the parameters of the prefixes that they stand beside', () => {
  const { runs, parametersOf } = planned(loaded.get('compression')!, 'tiny')
  const whole = modelConfigOf(runs.get('whole')!.settings, DATASET_SHAPES['fashion-mnist'])
  for (const k of [1, 2, 4]) assert.is(parametersOf(`scratch${k}`), countParameters(whole, { branches: k }).total)
})

test('expansion: the work of the ways is what their images and branches take', () => {
  const { runs } = planned(loaded.get('expansion')!, 'tiny')
  const { settings } = runs.get('scratch')!
  const config = modelConfigOf(settings, { ...DATASET_SHAPES['fashion-mnist'], classes: 10 })
  const batches = (images: number) => settings.epochs * Math.floor((0.9 * images) / settings.batchSize)
  const half = batches(30_000)
  const steps = (arm: string) => runs.get(arm)!.work.optimizerSteps
  assert.equal([steps('frozen'), steps('finetune')], [2 * half, 2 * half])
  assert.is(steps('scratch'), half + batches(60_000))
  assert.is(steps('replay'), half + batches(33_000))
  assert.is(steps('frozenReplay'), steps('replay'))
  const flops = (arm: string) => runs.get(arm)!.work.flops
  assert.ok(flops('frozen') < flops('finetune') && flops('finetune') < flops('replay') && flops('replay') < flops('scratch'))
  // Fine-tuning runs the six branches, with six heads, forward and backward.
  const six = { ...config, branches: 6 } as typeof config
  const { training, head } = countFlops(six)
  const base = runs.get('frozen')!.work.flops - frozenStage()
  assert.is(flops('finetune') - base, half * settings.batchSize * (training + 3 * 5 * head))
  function frozenStage(): number {
    const { stem, branch, head } = countFlops(six)
    return half * settings.batchSize * (stem + 6 * (branch + head) + 2 * (2 * branch + 6 * head))
  }
})

test('the width at which a model has the parameters of another', () => {
  const other = { dataset: 'mnist', patchSize: 7, dim: 64, branches: 4 } as const
  const found = withParametersOf({ ...other, architecture: 'ensemble', members: 4, depth: 1 }, other)
  const count = (settings: object) => countParameters(modelConfigOf(checkSettings(settings), DATASET_SHAPES.mnist)).total
  // A unit of width is 2 D + 1 parameters of each of the 4 layers.
  assert.ok(Math.abs(count(found) - count(other)) <= (4 * (2 * 64 + 1)) / 2)
  assert.throws(() => withParametersOf({ ...other, branches: 8 }, { ...other, branches: 1 }), /too small for these settings/)
})

run()
