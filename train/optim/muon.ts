import { ARENA_BLOCK } from '../../engine/autograd/arena.ts'
import { spaceOf } from '../../engine/autograd/arenaLayout.ts'
import { checkBoolean, checkFunction, checkWhole } from '../../engine/base/checks.ts'
import type { OptionNames } from '../../engine/base/options.ts'
import { type Tensor, tensor } from '../../engine/index.ts'
import { type MuonMatrices, muonGain, muonStep } from '../../engine/ops/muon.ts'
import { adamWRule, checkHyperparameters, plainRule } from '../../engine/ops/optimizerStep.ts'
import { adamWTreatment, settingsOf } from './adamW.ts'
import type { GroupOptions, Member, OptimizerParameters } from './groups.ts'
import { Optimizer, type OptimizerOptions, type Treatment } from './optimizer.ts'
import type { StepPart } from './stepPart.ts'

/** Options of Muon for all parameters or for a group of them. */
export interface MuonGroupOptions extends GroupOptions {
  /** Whether Muon updates a parameter of at least 2 dims, and not AdamW; default `isHidden`. */
  hidden?: (name: string, parameter: Tensor) => boolean
  /** At least 0 and below 1; default 0.95. */
  momentum?: number
  /** Whether to take Nesterov's momentum; default true. */
  nesterov?: boolean
  /** Newton-Schulz iterations, from 1 to 20; default 5. */
  iterations?: number
  /** The factor of the learning rate for parameters that AdamW updates, from 0 to 1e6; default 0.015, that of the authors. */
  adamLrScale?: number
  /** Decay rates of AdamW's moments, each at least 0 and below 1; default [0.9, 0.95]. */
  betas?: readonly [number, number]
  /** AdamW's eps, at least 0; default 1e-10. */
  eps?: number
  /** Decoupled weight decay, at least 0; default 0. */
  weightDecay?: number
}

export interface MuonOptions extends MuonGroupOptions, OptimizerOptions {}

const OPTIONS: OptionNames<MuonGroupOptions> = {
  hidden: true,
  momentum: true,
  nesterov: true,
  iterations: true,
  adamLrScale: true,
  betas: true,
  eps: true,
  weightDecay: true,
  decays: true,
}

/** Moments by parameter name: `momentum` of the weights that Muon updates, `m` and `v` of the others. */
export interface MuonState {
  momentum: Map<string, Tensor>
  m: Map<string, Tensor>
  v: Map<string, Tensor>
}

/**
 * Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/): momentum, orthogonalized by Newton-Schulz iterations, for weights
 * of hidden layers, and AdamW for all other parameters. Weights of one shape are multiplied together. One of more than 2 dims counts as a
 * matrix of its first dim by all others. The gradient is clipped by its global norm first. What all optimizers share is told at
 * `Optimizer`.
 */
export class Muon extends Optimizer<MuonGroupOptions> {
  /**
   * Moves the parameters into an arena (they stay the same Tensor objects), unless they are in the arena of another optimizer.
   * @param parameters as for AdamW: parameters with or without names, or groups. Without names all weights of 2 dims are hidden
   * @throws ArgumentError in one line unless `parameters` is a list of parameters or groups, and for options that do not exist or are out
   *   of range; ShapeError for tensors that are no float32 leaves of one device
   */
  constructor(parameters: OptimizerParameters<MuonGroupOptions>, options: MuonOptions = {}) {
    super('Muon', parameters, options, OPTIONS, treatmentOf)
  }

  override state(): Record<string, Map<string, Tensor>> & MuonState {
    return { momentum: new Map(), m: new Map(), v: new Map(), ...this.moments() }
  }
}

/** Whether a parameter is a weight of a hidden layer: of at least 2 dims, and of no embedding, head, CLS token or position embedding. */
function isHidden(name: string, { ndim }: Tensor): boolean {
  return ndim >= 2 && !/(^|\.)(embed\w*|head|clsToken|posEmbedding)(\.|$)/i.test(name)
}

function treatmentOf({ name, parameter, options }: Member<MuonGroupOptions>): { treatment: Treatment; weightDecay: number } {
  const { hidden = isHidden, momentum = 0.95, nesterov = true, iterations = 5 } = options
  const { adamLrScale = 0.015, betas = [0.9, 0.95], eps = 1e-10, weightDecay = 0 } = options
  checkFunction('Muon', hidden, 'hidden')
  checkHyperparameters('Muon', { momentum })
  checkBoolean('Muon', nesterov, 'nesterov')
  checkWhole('Muon', iterations, 'iterations', 1, 20)
  checkHyperparameters('Muon', { adamLrScale })
  const settings = settingsOf('Muon', { betas, eps, weightDecay })
  if (parameter.ndim < 2 || parameter.size === 0 || !hidden(name, parameter)) {
    const { treatment } = adamWTreatment('AdamW', settings)
    return { treatment: { ...treatment, rule: (lr, decay) => adamWRule(lr * adamLrScale, decay, betas) }, weightDecay }
  }
  const [rows, cols] = matrixOf(parameter)
  const scale = Math.sqrt(Math.max(1, rows / cols)) * muonGain(iterations)
  const treatment: Treatment = {
    key: `Muon ${momentum} ${nesterov} ${iterations}`,
    moments: ['momentum'],
    rule: (lr, decay) => plainRule(lr, decay, scale),
    tables: (part) => ({ blockPlace: tensor(placesOf(part), { device: parameter.device }) }),
    step(part, slots) {
      const { params, grads, blockSlot, changes, moments, tables } = part
      const arena = { params, grads, blockSlot, changes, momentum: moments.momentum!, blockPlace: tables.blockPlace! }
      muonStep({ ...arena, matrices: matricesOf(part).map(({ shape }) => shape) }, slots, { momentum, nesterov, iterations })
    },
  }
  return { treatment, weightDecay }
}

/** The rows and columns of a weight. */
function matrixOf({ shape, size }: Tensor): [rows: number, cols: number] {
  return [shape[0]!, size / shape[0]!]
}

/** Groups the weights of a part by shape, with the places of their directions, which lie side by side. */
function matricesOf({ parameters }: StepPart): { shape: MuonMatrices; members: Tensor[] }[] {
  const groups = new Map<string, Tensor[]>()
  for (const parameter of parameters) {
    const key = `${matrixOf(parameter)}`
    groups.set(key, [...(groups.get(key) ?? []), parameter])
  }
  let first = 0
  return [...groups.values()].map((members) => {
    const [rows, cols] = matrixOf(members[0]!)
    const shape = { rows, cols, count: members.length, first, blocks: spaceOf(rows * cols) / ARENA_BLOCK }
    first += shape.count * shape.blocks
    return { shape, members }
  })
}

/** Returns for each block of a part its place among the directions, and -1 for a block of others. */
function placesOf(part: StepPart): Int32Array {
  const places = new Int32Array(part.params.size / ARENA_BLOCK).fill(-1)
  for (const { shape, members } of matricesOf(part)) {
    for (const [i, parameter] of members.entries()) {
      const start = part.startOf(parameter) / ARENA_BLOCK
      for (let block = 0; block < shape.blocks; block++) places[start + block] = shape.first + i * shape.blocks + block
    }
  }
  return places
}
