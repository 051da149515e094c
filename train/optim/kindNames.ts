export const OPTIMIZER_NAMES = ['adamW', 'sgd', 'lion', 'muon'] as const
export type OptimizerName = (typeof OPTIMIZER_NAMES)[number]

/** The momentum of the optimizers that have one where none is asked for. */
export const MOMENTUM: Readonly<Partial<Record<OptimizerName, number>>> = { sgd: 0.9, muon: 0.95 }

/** The sets of moments that a parameter can have in a checkpoint. */
export const MOMENTS: Readonly<Record<OptimizerName, readonly (readonly string[])[]>> = {
  adamW: [['m', 'v']],
  // A momentum of 0 has no moments.
  sgd: [['momentum'], []],
  lion: [['momentum']],
  muon: [['momentum'], ['m', 'v']],
}
