import type { Arrays } from '../spec.ts'
import type { Loss, LossBackward, LossKind } from './losses.ts'

type Function = (x: number, target: number) => number

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))

const TERMS: Record<LossKind, Function> = {
  mse: (x, t) => (x - t) ** 2,
  bceWithLogits: (x, t) => (1 - t) * x + Math.max(-x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  klDiv: (x, t) => (t === 0 ? 0 : t * Math.log(t)) - t * x,
  klDivLog: (x, t) => Math.exp(t) * (t - x),
}

/** The derivatives by x and by the target. */
const SLOPES: Record<LossKind, readonly [Function, Function]> = {
  mse: [(x, t) => 2 * (x - t), (x, t) => 2 * (t - x)],
  bceWithLogits: [(x, t) => sigmoid(x) - t, (x) => -x],
  klDiv: [(_, t) => -t, (x, t) => Math.log(t) + 1 - x],
  klDivLog: [(_, t) => -Math.exp(t), (x, t) => Math.exp(t) * (t - x + 1)],
}

export function lossReference({ kind, count }: Loss, { x, targets, terms }: Arrays): Arrays {
  for (let i = 0; i < count; i++) terms![i] = TERMS[kind](x![i]!, targets![i]!)
  return { terms: terms! }
}

export function lossBackwardReference(problem: LossBackward, { x, targets, gradient, output }: Arrays): Arrays {
  const slope = SLOPES[problem.kind][problem.targets ? 1 : 0]
  for (let i = 0; i < problem.count; i++)
    output![i] = slope(x![i]!, targets![i]!) * gradient![i * problem.gradientStride]! * problem.scale
  return { output: output! }
}
