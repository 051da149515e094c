import type { Arrays } from '../spec.ts'
import type { AdamW, GradNorm, StepSetup } from './adamW.ts'

export function adamWReference(problem: AdamW, arrays: Arrays): Arrays {
  const { beta1, beta2, complement1, complement2, eps } = problem
  const { values, gradients, firstMoments, secondMoments, blockSlot, slots } = arrays as Required<typeof arrays> & Arrays
  const out = { values: values!, firstMoments: firstMoments!, secondMoments: secondMoments! }
  for (let i = 0; i < problem.blocks * 64; i++) {
    const [stepSize, invSqrtBc2, decay, factor] = slots!.subarray(4 * blockSlot![i >> 6]!)
    if (factor! < 0) continue
    const g = gradients![i]! * factor!
    const m = beta1 * out.firstMoments[i]! + complement1 * g
    const v = beta2 * out.secondMoments[i]! + complement2 * g * g
    out.firstMoments[i] = m
    out.secondMoments[i] = v
    out.values[i] = out.values[i]! * (1 - decay!) - (stepSize! * m) / (Math.sqrt(v) * invSqrtBc2! + eps)
  }
  return out
}

export function gradNormReference({ blocks, chunk }: GradNorm, { gradients, blockSlot, rules }: Arrays): Arrays {
  const partials = new Float64Array(Math.ceil(blocks / chunk))
  for (let i = 0; i < blocks * 64; i++) {
    const block = i >> 6
    if (rules![4 * blockSlot![block]! + 1]! >= 0) partials[Math.floor(block / chunk)]! += gradients![i]! ** 2
  }
  return { partials }
}

export function setupReference(problem: StepSetup, arrays: Arrays): Arrays {
  const { maxNorm, growthInterval } = problem
  const { partials, rules, lossScale, steps, slots } = arrays as Required<typeof arrays> & Arrays
  const [scale, finiteSteps] = lossScale as unknown as [number, number]
  // A sum that overflows float32 is infinite.
  const norm = Math.sqrt(Math.fround(partials!.reduce((total, value) => total + value, 0))) / scale
  const finite = Number.isFinite(norm)
  const factor = (maxNorm > 0 ? Math.min(1, maxNorm / (norm + 1e-6)) : 1) / scale
  for (let slot = 0; slot < problem.slots; slot++) {
    const [lr, decay, x, form] = rules!.subarray(4 * slot) as unknown as [number, number, number, number]
    let row = [0, 0, 0, -1]
    if (finite && decay >= 0) {
      const t = ++steps![slot]!
      if (form === 2) row = [lr, t === 1 ? 1 : x, decay, factor]
      else if (form === 1) row = [lr, x, lr * decay, factor]
      else row = [lr / -Math.expm1(t * x), 1 / Math.sqrt(-Math.expm1(t * form)), lr * decay, factor]
    }
    slots!.set(row, 4 * slot)
  }
  if (growthInterval > 0) {
    const steady = finite ? finiteSteps + 1 : 0
    const grows = steady === growthInterval
    const doubles = grows && 2 * scale <= 2 ** 126
    const halves = !finite && scale >= 1
    lossScale!.set([scale * (doubles ? 2 : halves ? 0.5 : 1), grows ? 0 : steady])
  }
  return { lossScale: lossScale!, steps: steps!, slots: slots!, norm: Float64Array.of(norm) }
}
