import type { Arrays } from '../spec.ts'
import type { AdamW } from './adamW.ts'
import type { GradNorm } from './gradNorm.ts'

export function adamWReference(problem: AdamW, arrays: Arrays): Arrays {
  const { beta1, beta2, complement1, complement2, eps, maxNorm } = problem
  const { values, gradients, firstMoments, secondMoments, blockSlot, slots } = arrays as Required<typeof arrays> & Arrays
  const norm = arrays.norm![0]!
  const out = { values: values!, firstMoments: firstMoments!, secondMoments: secondMoments! }
  if (!Number.isFinite(norm)) return out
  const scale = maxNorm > 0 ? Math.min(1, maxNorm / (norm + 1e-6)) : 1
  for (let i = 0; i < problem.blocks * 64; i++) {
    const [stepSize, invSqrtBc2, decay, active] = slots!.subarray(4 * blockSlot![i >> 6]!)
    if (!active) continue
    const g = gradients![i]! * scale
    const m = beta1 * out.firstMoments[i]! + complement1 * g
    const v = beta2 * out.secondMoments[i]! + complement2 * g * g
    out.firstMoments[i] = m
    out.secondMoments[i] = v
    out.values[i] = out.values[i]! * (1 - decay!) - (stepSize! * m) / (Math.sqrt(v) * invSqrtBc2! + eps)
  }
  return out
}

export function gradNormReference({ blocks, chunk }: GradNorm, { gradients, blockSlot, slots }: Arrays): Arrays {
  const partials = new Float64Array(Math.ceil(blocks / chunk))
  for (let i = 0; i < blocks * 64; i++) {
    const block = i >> 6
    if (slots![4 * blockSlot![block]! + 3]) partials[Math.floor(block / chunk)]! += gradients![i]! ** 2
  }
  return { partials }
}

export function normFinalReference(_: { count: number }, { partials }: Arrays): Arrays {
  return { norm: Float64Array.of(Math.sqrt(partials!.reduce((total, value) => total + value, 0))) }
}
