import { between, functionCases, magnitudes } from '../functions.ts'
import type { Fill } from '../spec.ts'

const fills: Record<string, Fill> = {
  ordinary: between(-6, 6),
  'large and small': magnitudes(1e-4, 1e4),
  'left tail': between(-80, -5),
}

const trials = {
  softplus: { fills, tolerance: 2e-6 },
  silu: { fills, tolerance: 2e-6 },
  leakyRelu: { fills },
  geluTanh: { fills: { ordinary: fills.ordinary!, large: fills['large and small']! }, tolerance: 2e-6 },
}

export const activationCases = functionCases(trials, 'x', ['x', 'y'], { slope: 0.2 })
export const activationBackwardCases = functionCases(trials, 'saved', ['grad', 'saved', 'out'], { slope: 0.2 })
