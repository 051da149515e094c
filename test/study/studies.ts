import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Settings of a run of a second, with dropout and augmentation, since all randomness must come back. */
const TINY = {
  ...{ dataset: 'mnist', validation: 0.01, trainImages: 64, testImages: 50, batchSize: 8, epochs: 2, warmup: 3 },
  ...{ patchSize: 14, dim: 8, heads: 1, dimHead: 8, mlpDim: 8, branches: 2, dropout: 0.2, flip: true, mode: 'serial' },
}

export interface StudyText {
  arms?: string
  seeds?: string
  more?: string
  tiny?: object
  hypothesis?: string
}

/** Writes a study file of two arms and two seeds. @returns its path */
export function writeStudy(
  folder: string,
  { arms, seeds = '[1, 2]', more = '', tiny = {}, hypothesis = 'h' }: StudyText = {},
): string {
  const path = join(folder, 'small.ts')
  writeFileSync(
    path,
    `import { type Arm, defineScheme, defineStudy, makeScheme } from 'paraformer'
const arms: Record<string, Arm> = ${arms ?? "{ joint: { settings: { scheme: 'joint' } }, every: { settings: { scheme: 'prefixSum' } } }"}
void [defineScheme, makeScheme]
export default defineStudy({
  id: 'small', hypothesis: '${hypothesis}', prediction: 'p', metric: 'testAccuracy', budget: 'parameters',
  decisionRule: [], arms, seeds: ${seeds}, presets: { tiny: ${JSON.stringify({ ...TINY, ...tiny })} as never }, ${more}
})
`,
  )
  return path
}

export type Line = Record<string, any>

/** Reads the lines of a JSONL file. */
export function linesOf(...path: string[]): Line[] {
  return readFileSync(join(...path), 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
}

/** The results of a study without what differs between runs of the same bits, in order. */
export function resultsOf(folder: string): Line[] {
  return linesOf(folder, 'results.jsonl')
    .map(({ coldSeconds, warmSeconds, wallSeconds, peakBytes, ...result }) => result)
    .sort((a, b) => `${a.arm} ${a.seed}`.localeCompare(`${b.arm} ${b.seed}`))
}

/** The models of all runs of a study, by key. */
export function modelsOf(folder: string): Record<string, string> {
  const keys = readdirSync(join(folder, 'runs')).sort()
  return Object.fromEntries(
    keys.map((key) => [key, readFileSync(join(folder, 'runs', key, 'model.safetensors')).toString('base64')]),
  )
}
