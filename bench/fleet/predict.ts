import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { quantiles } from '../statistics.ts'
import type { LinkSettings } from './namespaces.ts'
import { TcpFlow } from './tcpFlow.ts'

/** A part of a step in which every host gets bytes, computes, and answers with bytes, before the next part begins. */
export interface Phase {
  down: number
  up: number
}

/** Milliseconds of a step. */
export interface StepTime {
  median: number
  mean: number
  /** Standard error of the mean. */
  error: number
}

/** Summarizes the times of steps. */
export function stepTime(times: readonly number[]): StepTime {
  const mean = times.reduce((sum, ms) => sum + ms, 0) / times.length
  const variance = times.reduce((sum, ms) => sum + (ms - mean) ** 2, 0) / (times.length - 1)
  return { median: quantiles(times).median, mean, error: Math.sqrt(variance / times.length) }
}

/** Steps that are simulated, and those of them that only bring the windows of the connections to where they stay. */
const STEPS = 200
const WARM_UP = 20

/**
 * Predicts the milliseconds of a training step over hosts behind links of a delay, losses and a rate:
 *
 *     step = local step + sum over phases of the longest, over hosts, of (time of the bytes down + time of the bytes up)
 *
 * The time of bytes is that of a TCP connection which lives as long as the training, found by simulating every packet (`TcpFlow`). Without
 * losses and limits it comes to a delay and as many round trips as the window needs to let the bytes through.
 * @param local is the median of a step over the same processes without delay and losses
 */
export function predictStep(local: number, phases: readonly Phase[], hosts: number, link: LinkSettings, seed = 1): StepTime {
  const random = new CounterRandom(seed, [0, 0, 0])
  const next = () => random.uniform()
  const flows = Array.from({ length: hosts }, () => ({ down: new TcpFlow(link, next), up: new TcpFlow(link, next) }))
  let now = 0
  const times: number[] = []
  for (let step = 0; step < STEPS; step++) {
    const begins = now
    for (const { down, up } of phases) {
      // Hosts compute between what comes and what goes.
      const ends = flows.map((flow) => flow.up.send(flow.down.send(now, down) + local / phases.length, up))
      now = Math.max(...ends)
    }
    if (step >= WARM_UP) times.push(now - begins)
  }
  return stepTime(times)
}
