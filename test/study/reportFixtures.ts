import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { countParameters, type ModelConfig } from '../../model/index.ts'
import { hashOf } from '../../train/study/plan/hash.ts'

/** A model of as many branches, whose numbers the report counts. */
export function config(branches: number): ModelConfig {
  const shared = { imageSize: 28, patchSize: 7, channels: 1, dim: 16, heads: 2, dimHead: 8, mlpDim: 32, classes: 10 }
  return { architecture: 'paraformer', branches, branchDepth: 1, ...shared, residual: 'paper', pool: 'cls', dropout: 0.1 }
}

const settingsOf = (branches: number, more: object) => {
  const { architecture, patchSize, dim, heads, dimHead, mlpDim } = config(branches)
  const model = { architecture, patchSize, dim, heads, dimHead, mlpDim, branches, branchDepth: 1 }
  return { dataset: 'fashion-mnist', ...model, scheme: 'prefixSum', seed: 3, ...more }
}

/** Writes a file of JSON lines. */
export function writeLines(path: string, lines: readonly unknown[]): void {
  writeFileSync(path, lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join(''))
}

const writeJson = (path: string, value: unknown) => writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`)

interface RunOptions {
  branches?: number
  epochs?: number
  /** Settings besides the model's. */
  settings?: object
  /** Lines after the metrics. */
  more?: readonly unknown[]
  /** The last test accuracy of the whole model. */
  accuracy?: number
}

/** The losses of the prefixes at an epoch; the second prefix is worse than the first at epoch 0. */
export const lossAt = (epoch: number, prefix: number) => (epoch === 0 && prefix === 2 ? 3 : 2 / (epoch + 1) / prefix)

/** Writes a run folder with flat metrics: two mini-batches an epoch, and an evaluation on the test images. */
export function writeRun(
  folder: string,
  { branches = 3, epochs = 3, settings = {}, more = [], accuracy = 0.8 }: RunOptions = {},
): void {
  mkdirSync(folder, { recursive: true })
  const dataset = { name: 'fashion-mnist', trainImages: 60000, testImages: 10000, sha256: {} }
  writeJson(join(folder, 'settings.json'), {
    format: 1,
    settings: settingsOf(branches, settings),
    model: config(branches),
    dataset,
  })
  const prefixes = Array.from({ length: branches }, (_, k) => k + 1)
  const score = (epoch: number, prefix: number) => accuracy * ((epoch + 1) / epochs) * ((prefix + 9) / (branches + 9))
  const lines = Array.from({ length: epochs }, (_, epoch) => [
    ...[1, 2].flatMap((batch) =>
      prefixes.map((prefix) => {
        const step = 2 * epoch + batch
        const scored = { prefix, split: 'train', loss: lossAt(epoch, prefix), accuracy: 0.5 }
        return { time: step / 2, epoch, pass: 0, step, ...scored, lr: 0.001, norm: 1, flops: step * 1e9 }
      }),
    ),
    ...prefixes.map((prefix) => {
      const scored = { prefix, split: 'test', loss: lossAt(epoch, prefix), accuracy: score(epoch, prefix) }
      return { time: epoch + 1, epoch, pass: 0, step: 2 * epoch + 2, ...scored, flops: (2 * epoch + 2) * 1e9 }
    }),
  ])
  writeLines(join(folder, 'metrics.jsonl'), [...lines.flat(), ...more])
  writeJson(join(folder, 'run.json'), resultOf(branches, { accuracy, seed: 3, epochs }))
}

function resultOf(branches: number, { accuracy, seed, epochs = 3 }: { accuracy: number; seed: number; epochs?: number }) {
  const prefixes = Array.from({ length: branches }, (_, k) => k + 1)
  const scores = {
    loss: prefixes.map((prefix) => lossAt(epochs - 1, prefix)),
    accuracy: prefixes.map((prefix) => accuracy * ((prefix + 9) / (branches + 9))),
  }
  return {
    format: 1,
    seed,
    commit: 'c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00',
    clean: true,
    adapter: 'a software device',
    driver: 'its driver',
    features: ['shader-f16'],
    tuned: {},
    versions: { node: '20.0.0', paraformer: '0.1.0', webgpu: '0.6.2' },
    coldSeconds: 2,
    warmSeconds: 0.1,
    peakBytes: 1e6,
    optimizerSteps: 6,
    images: 384,
    trainingFlops: 6e9,
    wallSeconds: 3,
    parameters: countParameters(config(branches)).total,
    final: { test: scores },
  }
}

/** Writes the metrics of a run of before they were flat, of one epoch with `branches` losses a mini-batch. */
export function writeNestedRun(folder: string, branches = 3): void {
  mkdirSync(folder, { recursive: true })
  const all = Array.from({ length: branches }, (_, k) => lossAt(1, k + 1))
  const step = { kind: 'step', epoch: 0, norms: [1], lr: 1e-3, imagesPerSecond: 100 }
  const epoch = { kind: 'epoch', split: 'test', violations: 0 }
  writeLines(join(folder, 'metrics.jsonl'), [
    { ...step, step: 1, losses: [all], accuracies: [all.map(() => 0.25)] },
    { ...epoch, step: 1, epoch: 0, losses: all, accuracies: all.map(() => 0.5), seconds: 4 },
    { ...step, step: 2, epoch: 1, losses: all.map((loss) => [loss]), accuracies: all.map(() => [0.25]) },
    { ...step, step: 3, epoch: 1, losses: [[0.5]], accuracies: [[0.75]] },
    { ...epoch, step: 3, epoch: 1, losses: all, accuracies: all.map(() => 0.625), seconds: 8 },
  ])
}

export interface StudyOptions {
  /** Test accuracies of each arm, at seeds 0, 1, …; null is NaN, and `diverged` a run that did. */
  arms: Readonly<Record<string, readonly (number | null | 'diverged')[]>>
  rules?: readonly object[]
  seeds?: number
  statement?: object
  registered?: object
  /** The fields of the statement that each later change replaces, with the fields of the change itself. */
  deviations?: readonly { statement?: object; at?: string; reason?: string; changed?: string[] }[]
  /** Fields of every result. */
  result?: object
  /** Lines after the results. */
  more?: readonly unknown[]
}

/** Writes a study folder without run folders. */
export function writeStudy(
  folder: string,
  { arms, rules = [], seeds = 5, statement = {}, registered = {}, deviations = [], result = {}, more = [] }: StudyOptions,
): void {
  mkdirSync(folder, { recursive: true })
  const named = Object.fromEntries(Object.keys(arms).map((arm) => [arm, { settings: {}, description: `what ${arm} is` }]))
  const stated = {
    ...{ id: 'planted', preset: 'tiny', hypothesis: 'one is better', prediction: 'it shows', metric: 'testAccuracy' },
    ...{
      decisionRule: rules,
      baseline: 'a',
      budget: 'steps',
      seeds: Array.from({ length: seeds }, (_, seed) => seed),
      arms: named,
    },
    ...statement,
  }
  const code = 'c1'
  const hash = hashOf(stated, code)
  const build = { version: '0.1.0', commit: null, clean: null, sources: 's1' }
  writeJson(join(folder, 'registered.json'), {
    ...{ format: 1, hash, code, at: '2026-01-01T00:00:00.000Z', ...build, statement: stated },
    deviations: deviations.map(({ statement, ...more }) => {
      const changed = { ...stated, ...statement }
      const described = { at: 'then', reason: 'an idea', changed: ['decisionRule'] }
      return { ...described, hash: hashOf(changed, code), code, sources: 's1', statement: changed, ...more }
    }),
    ...registered,
  })
  const results = Object.entries(arms).flatMap(([arm, values]) =>
    values.map((value, seed) => {
      const made = resultOf(3, { accuracy: typeof value === 'number' ? value : 0, seed })
      const none = [null as never, null as never, null as never]
      if (value === null) made.final.test.accuracy = none
      if (value === 'diverged') Object.assign(made, { diverged: 'NaN', final: { test: { loss: none, accuracy: none } } })
      const { final } = made
      const own = {
        arm,
        key: `${arm}-${seed}`,
        sources: 's1',
        registration: hash,
        settings: settingsOf(3, { seed }),
        trials: 0,
      }
      return { ...made, ...own, final: { ...final, validation: final.test }, ...result }
    }),
  )
  writeLines(join(folder, 'results.jsonl'), [...results, ...more])
}

/** Makes a compression.json as `paraformer compress` writes it. */
export function compression(branches: number) {
  return {
    ...{ format: 1, model: 'model.safetensors', dataset: 'fashion-mnist', images: { validation: 6000, test: 10000 } },
    prefixes: Array.from({ length: branches }, (_, k) => ({
      ...{ prefix: k + 1, parameters: 1000 * (k + 1), bytes: { float32: 4000 * (k + 1), float16: 2000 * (k + 1) } },
      ...{ flops: 1e6 * (k + 1), latencyMs: { 1: k + 1, 64: 10 * (k + 1) }, validation: 0.8 + k / 100, test: 0.79 + k / 100 },
    })),
    exits: [{ threshold: 0.9, accuracy: 0.8, flops: 1.5e6, branches: 1.5, validation: 0.8 }],
    ...{ tolerance: 0.5, chosen: branches - 1, order: [], within: [] },
  }
}

const stage = { tasks: 2, branches: 4, parameters: 4000, optimizerSteps: 10, images: 640, seconds: 2, validation: [0.5] }

/** An expansion.json as `paraformer expand` writes it. */
export const EXPANSION = {
  ...{ format: 1, dataset: 'fashion-mnist', split: 'classes', add: 1, freeze: true, init: 'zero', replay: 0.1 },
  tasks: ['0 to 4', '5 to 9'].map((name) => ({ name, classes: 10, train: 30000, test: 5000 })),
  base: { branches: 3, parameters: 3000, accuracy: 0.9 },
  arms: [
    {
      arm: 'expand',
      stages: [{ ...stage, accuracies: [0.6, 0.8], atPrefix: [0.9, 0.8], old: 0.6, new: 0.8, forgetting: 0.3 }],
    },
    {
      arm: 'finetune',
      stages: [{ ...stage, accuracies: [0.1, 0.9], atPrefix: [0.2, 0.9], old: 0.1, new: 0.9, forgetting: 0.8 }],
    },
  ],
}
