import { type Device, requestDevice, scope } from '../../engine/index.ts'
import { type Mode, ParaFormer, type ParaFormerConfig } from '../../model/index.ts'
import { announce } from '../../train/cli/device.ts'
import { Interrupt } from '../../train/cli/interrupt.ts'
import { givenSettings } from '../../train/cli/options.ts'
import { Progress } from '../../train/cli/progress.ts'
import { table } from '../../train/cli/table.ts'
import {
  AdamW,
  captureStep,
  type MicroBatch,
  makeScheme,
  optimizerStep,
  type SchemeName,
  type StepResult,
} from '../../train/index.ts'
import { gradientsOf } from '../../train/optim/gradients.ts'
import type { Objective } from '../../train/schemes/index.ts'
import { BRANCH_SCHEMES, trainingFlops, updatesOf } from '../../train/schemes/index.ts'
import { significant } from '../format.ts'
import { checkComputed } from '../outputs.ts'
import { type Quantiles, quantiles } from '../statistics.ts'
import { MAX_NORM, type Values, ZERO_LR } from '../streams/candidate.ts'
import { measure, type Timed } from '../streams/measure.ts'
import { difference } from '../streams/passRun.ts'
import { sizesOf } from '../streams/sizes.ts'
import { loadBatch } from '../streams/workbench.ts'
import { within } from '../target.ts'
import type { SchemesFlags } from './flags.ts'

/** Smallest number of rounds, so that the median leaves out a bad one. */
const MIN_ROUNDS = 5

/** The measurements of a scheme. A mini-batch is what an epoch does with it: all passes, and all steps of a pass. */
export interface SchemeRow {
  scheme: SchemeName
  /** Optimizer steps on a mini-batch. */
  updates: number
  /** Operations of matrix products for a mini-batch. */
  flops: number
  /** Milliseconds of a mini-batch. */
  time: Quantiles
  /** Time and operations beside those of `joint`; the time's is the median of the ratios round by round. */
  overJoint: { time: Quantiles; flops: number }
  /** Norm-relative difference of losses, norms and gradients after the timed steps from the same steps run op by op. */
  error: number
}

/** All schemes on a model. */
export interface SchemesReport {
  date: string
  device: Device['summary']
  config: ParaFormerConfig
  batch: number
  mode: Mode
  rounds: number
  rows: SchemeRow[]
}

/** Largest norm-relative difference that rounding explains. */
const TOLERANCE = 1e-4

/** Runs `paraformer bench schemes`. @throws UserError for settings that do not fit together */
export async function benchSchemes(flags: SchemesFlags): Promise<void> {
  const sizes = sizesOf(flags.preset, givenSettings({ ...flags }))
  const interrupt = new Interrupt()
  interrupt.says = 'ending after this round; once more ends at once'
  const device = await requestDevice({ adapter: flags.adapter })
  try {
    announce(device)
    const report = await timeSchemes(device, sizes, flags, interrupt)
    console.log(flags.json ? JSON.stringify(report, null, 2) : textReport(report))
    if (interrupt.asked) interrupt.end()
  } finally {
    device.destroy()
    interrupt.close()
  }
}

async function timeSchemes(
  device: Device,
  sizes: ReturnType<typeof sizesOf>,
  { batch, mode, quick, time }: SchemesFlags,
  interrupt: Interrupt,
): Promise<SchemesReport> {
  const config = sizes.paraformer
  device.random.seed = 1
  const model = new ParaFormer(config)
  model.recomputes = sizes.recompute
  model.coalesces = sizes.coalesce
  // With a learning rate of 0 the schemes can share a model.
  const optimizer = new AdamW(model.namedParameters())
  const { resident } = loadBatch({ device, sizes }, batch)
  const schemes = BRANCH_SCHEMES.map((name) => {
    const scheme = makeScheme(name, config.branches, { mode })
    const objectives = scheme.passes.flat()
    // A run takes a step on every objective, of which a mini-batch has one where the scheme chooses.
    const share = scheme.choose ? 1 / objectives.length : 1
    const flops = share * batch * objectives.reduce((sum, objective) => sum + trainingFlops(objective, config), 0)
    return { name, objectives, share, flops, updates: updatesOf(scheme).reduce((sum, count) => sum + count) }
  })
  const progress = new Progress({ total: 1 })
  try {
    const candidates: Steps[] = []
    for (const [i, { name, objectives }] of schemes.entries()) {
      progress.update((0.5 * i) / schemes.length, `compiling ${name}`)
      const candidate = new Steps(model, optimizer, objectives, resident)
      // The first run captures, the second one replays.
      for (let run = 0; run < 2; run++) {
        candidate.submit()
        await candidate.check(name)
      }
      candidates.push(candidate)
    }
    const limits = quick ? { time: 0, minRounds: 1 } : { time, minRounds: MIN_ROUNDS }
    const tell = (share: number) => progress.update(0.5 + 0.5 * share, 'timing')
    const series = await measure(candidates, {
      ...limits,
      queue: false,
      clocks: new Map(),
      onRound: tell,
      shouldStop: () => interrupt.asked,
    })
    const errors: number[] = []
    for (const [i, candidate] of candidates.entries()) {
      const { name } = schemes[i]!
      // The gradients are those of the scheme that ran last, so another run of each gives its own.
      await candidate.check(name, false)
      candidate.submit()
      errors.push(await candidate.check(name))
    }
    const times = series.map(({ latency }, i) => latency.map((ms) => ms * schemes[i]!.share))
    const joint = schemes.findIndex(({ name }) => name === 'joint')
    const rows = schemes.map(
      ({ name, updates, flops }, i): SchemeRow => ({
        scheme: name,
        updates,
        flops,
        time: quantiles(times[i]!),
        overJoint: {
          time: quantiles(times[i]!.map((ms, round) => ms / times[joint]![round]!)),
          flops: flops / schemes[joint]!.flops,
        },
        error: errors[i]!,
      }),
    )
    return { date: new Date().toISOString(), device: device.summary, config, batch, mode, rounds: times[0]!.length, rows }
  } finally {
    progress.stop()
  }
}

/** The steps of a scheme on one batch: a run takes all of them, and keeps what they give until the next run. */
class Steps implements Timed {
  readonly devices: readonly Device[]
  readonly #model: ParaFormer
  readonly #batch: MicroBatch
  readonly #steps: readonly ((batch: MicroBatch[], lr: number) => StepResult)[]
  /** Takes the same steps op by op. */
  readonly #eager: () => StepResult[]
  #expected: Values | undefined
  #results: StepResult[] = []

  constructor(model: ParaFormer, optimizer: AdamW, objectives: readonly Objective[], batch: MicroBatch) {
    this.devices = [batch.images.device]
    this.#model = model
    this.#batch = batch
    this.#steps = objectives.map((objective) => captureStep(model, optimizer, objective, MAX_NORM))
    this.#eager = () =>
      objectives.map((objective) => scope(() => optimizerStep(model, optimizer, objective, [batch], ZERO_LR, MAX_NORM)))
  }

  submit(): number {
    forget(this.#results)
    const began = performance.now()
    this.#results = this.#steps.map((step) => step([this.#batch], ZERO_LR))
    this.devices[0]!.flush()
    return performance.now() - began
  }

  wait(): Promise<void> {
    return this.devices[0]!.synchronize()
  }

  /**
   * Compares the losses and norms of the last run, and the gradients of its last step, with those of steps that are not captured.
   * @returns the norm-relative difference
   * @throws Error for too large a difference
   */
  async check(name: string, gradients = true): Promise<number> {
    const values = await this.#read(this.#results, gradients)
    if (!this.#expected) {
      const eager = this.#eager()
      this.#expected = await this.#read(eager, true)
      forget(eager)
      checkComputed([...this.#expected].filter(([key]) => /^(losses|norm) /.test(key)).map(([, found]) => found))
    }
    return within(difference(values, this.#expected), TOLERANCE, `${name}: losses, norms and gradients`)
  }

  /** Reads the values of steps; the gradients are those of the last step that ran. */
  async #read(results: readonly StepResult[], gradients: boolean): Promise<Values> {
    const values = await gradientsOf(gradients ? this.#model.namedParameters() : [])
    for (const [i, { losses, norm }] of results.entries()) {
      values.set(`losses ${i}`, (await losses.data()) as Float32Array)
      values.set(`norm ${i}`, (await norm.data()) as Float32Array)
    }
    return values
  }
}

function forget(results: readonly StepResult[]): void {
  for (const { losses, predicted, norm } of results) for (const t of [losses, predicted, norm]) t.dispose()
}

function textReport({ config, batch, mode, rounds, rows }: SchemesReport): string {
  const { branches, branchDepth, imageSize, patchSize, dim } = config
  const heading =
    `${branches} branches of ${branchDepth} layers, D ${dim}, ${(imageSize / patchSize) ** 2 + 1} tokens, batch ${batch}, ${mode}; ` +
    `medians of ${rounds} rounds, of ratios too`
  const spread = ({ p20, p80 }: Quantiles) => `[${significant(p20)} ${significant(p80)}]`
  return `${heading}\n${table(
    ['scheme', 'steps', 'GFLOP', 'ms', '[p20 p80]', 'time to joint', '[p20 p80]', 'FLOPs to joint'],
    rows.map(({ scheme, updates, flops, time, overJoint }) => [
      scheme,
      String(updates),
      significant(flops / 1e9),
      significant(time.median),
      spread(time),
      `${significant(overJoint.time.median)}x`,
      spread(overJoint.time),
      `${significant(overJoint.flops)}x`,
    ]),
  )}`
}
