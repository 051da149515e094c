import type { Fill, KernelCase } from '../spec.ts'
import { type Dropout, dropoutProblem, type Flat, type Multinomial, type Random, streamOf } from './random.ts'

const SIZES = [1, 2, 3, 4, 7, 31, 33, 129, 257, 1025, 8200]

function randomCase(distribution: Random['distribution'], count: number, seed: number, stream: number): KernelCase<Random> {
  return {
    name: `${distribution}, ${count} of seed ${seed}, stream ${stream}`,
    problem: { count, distribution, ...streamOf(seed, stream) },
    sizes: { y: count },
    tolerance: distribution === 'uniform' ? 0 : 2e-6,
  }
}

export const randomCases: KernelCase<Random>[] = [
  ...(['uniform', 'normal'] as const).flatMap((distribution) => [
    ...SIZES.map((count) => randomCase(distribution, count, 1, 0)),
    randomCase(distribution, 1025, 2 ** 53 - 1, 2 ** 40 + 3),
    randomCase(distribution, 100_003, 0, 7),
  ]),
  { ...randomCase('normal', 1_000_000, 0, 0), bench: true },
]

function dropoutCase(count: number, p: number, stream: number): KernelCase<Dropout> {
  return {
    name: `${count}, p ${p}, stream ${stream}`,
    problem: dropoutProblem(count, p, streamOf(12345678901234, stream)),
    sizes: { x: count, y: count },
  }
}

export const dropoutCases: KernelCase<Dropout>[] = [
  ...SIZES.map((count) => dropoutCase(count, 0.1, count)),
  dropoutCase(1025, 0.5, 2 ** 33),
  dropoutCase(1025, 0.999, 3),
  dropoutCase(1025, 0, 4),
  dropoutCase(1025, 1, 5),
  { ...dropoutCase(1_000_000, 0.1, 0), bench: true },
]

export const randomWordsCases: KernelCase<Flat>[] = [1, 7, 257, 8200].map((count) => ({
  name: `${count}`,
  problem: { count, ...streamOf(12345678901234, count) },
  sizes: { y: count },
  tolerance: 0,
}))

export const bernoulliCases: KernelCase<Flat>[] = [1, 7, 257, 8200].map((count) => ({
  name: `${count}`,
  problem: { count, ...streamOf(12345678901234, count) },
  sizes: { p: count, y: count },
  fills: { p: (i, random) => (i % 5 < 3 ? random() : i % 5 === 3 ? 0 : 1) },
  tolerance: 0,
}))

/** Fills rows with ascending sums. Every third class has no weight. */
function ascending(classes: number): Fill {
  return (i) => Math.ceil((((i % classes) + 1) * 2) / 3)
}

const DRAWS: [rows: number, classes: number, draws: number][] = [
  [1, 1, 1],
  [3, 7, 5],
  [129, 10, 1],
  [2, 1000, 33],
]

export const multinomialCases: KernelCase<Multinomial>[] = DRAWS.map(([rows, classes, draws]) => ({
  name: `${draws} of [${rows}, ${classes}]`,
  problem: { rows, classes, draws, ...streamOf(12345678901234, classes) },
  sizes: { sums: rows * classes, drawn: rows * draws },
  fills: { sums: ascending(classes) },
  tolerance: 0,
}))

export const multinomialDistinctCases: KernelCase<Multinomial>[] = DRAWS.map(([rows, classes, draws]) => ({
  name: `${draws} of [${rows}, ${classes}]`,
  problem: { rows, classes, draws, ...streamOf(12345678901234, classes) },
  sizes: { weights: rows * classes, keys: rows * classes, drawn: rows * draws },
  fills: { weights: (i, random) => (i % 3 === 2 ? 0 : random()) },
}))
