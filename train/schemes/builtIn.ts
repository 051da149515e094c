import { checkNumber, checkWhole, refusal } from '../../engine/base/checks.ts'
import { checkOptions } from '../../engine/base/options.ts'
import { type Architecture, MODES, type Mode } from '../../model/index.ts'
import { boostingLoss, everyLayerLoss, independentLoss, prefixLoss, prefixSumLoss } from './objectives.ts'
import { instantiate, type Objective, type Scheme, type SchemeDefinition, type SchemeOptions } from './scheme.ts'

type Make = (branches: number, options: { weights: readonly number[]; hinge: number; mode: Mode }) => Omit<Scheme, 'name'>

/** Makes the clipped losses of the prefixes 1 to m. */
function prefixes(branches: number, mode: Mode): Objective[] {
  return Array.from({ length: branches }, (_, i) => prefixLoss(i + 1, true, mode))
}

const BUILT_IN = {
  joint: (m, { mode }) => ({ passes: [[prefixLoss(m, true, mode)]] }),
  paper: (m, { mode }) => ({ passes: [prefixes(m, mode), [prefixLoss(m, false, mode)]] }),
  prefixSum: (_, { weights, hinge, mode }) => ({ passes: [[prefixSumLoss(weights, hinge, mode)]] }),
  randomPrefix: (m, { mode }) => ({
    passes: [prefixes(m, mode)],
    choose: (objectives, { random }) => objectives[random.below(m)]!,
  }),
  greedy: (m, { mode }) => ({
    passes: [Array.from({ length: m }, (_, i) => boostingLoss(i + 1, mode))],
    choose: (objectives, { step, total }) => objectives[Math.min(m - 1, Math.floor((step * m) / total))]!,
  }),
  independent: (m, { mode }) => ({ passes: [[independentLoss(m, mode)]] }),
  everyLayer: () => ({ passes: [[everyLayerLoss()]] }),
} as const satisfies Record<string, Make>

export type SchemeName = keyof typeof BUILT_IN
export const SCHEME_NAMES = Object.keys(BUILT_IN) as readonly SchemeName[]

export const BRANCH_SCHEMES: readonly SchemeName[] = SCHEME_NAMES.filter((name) => name !== 'everyLayer')

/** The schemes that train each architecture, its default first where `prefixSum` does not. */
export const SCHEMES_OF: Readonly<Record<Architecture, readonly SchemeName[]>> = {
  paraformer: BRANCH_SCHEMES,
  vit: ['joint', 'everyLayer'],
  ensemble: ['independent', 'joint'],
}

/** Returns the built-in scheme of a name. @throws ArgumentError for a name that no scheme has */
export function schemeOf(name: SchemeName): SchemeDefinition {
  if (!SCHEME_NAMES.includes(name)) throw refusal('makeScheme', name, `one of ${SCHEME_NAMES.join(', ')}`, 'scheme')
  return {
    name,
    make(branches, { weights = Array(branches).fill(1), hinge = 0, mode = 'serial' }) {
      return BUILT_IN[name](branches, { weights, hinge, mode })
    },
  }
}

/**
 * Makes a scheme. One optimizer step is taken on each mini-batch, but for `paper`:
 * - `joint`: on the loss of the full sum.
 * - `paper`: in pass A, for k = 1..m a clipped step on the loss of prefix k; in pass B an unclipped step on the full sum.
 * - `prefixSum`: on the weighted sum of all prefix losses, from one pass over the branches.
 * - `randomPrefix`: on the loss of one prefix, drawn anew at every step (nested dropout, arXiv 1402.0915).
 * - `greedy`: the run has m phases; in phase k branch k and head learn on the loss of prefix k, stem (after phase 1) and earlier
 *   branches are frozen (boosting, arXiv 1706.04964).
 * - `independent`: on the sum of the losses of the branches, each alone with stem and head; the sum of the branches is used. Of an
 *   ensemble, on the sum of the losses of its members.
 * - `everyLayer`: of a ViT, on the sum of the losses of one head after every layer (deep supervision, arXiv 1409.5185).
 * @param branches number of branches m
 * @param options.weights weights of the prefix losses, default all 1 (`prefixSum` only)
 * @param options.hinge weight of the hinge max(0, L_k - L_(k-1)), default 0 (`prefixSum` only)
 * @param options.mode the mode in which the branches run, default `serial`
 * @throws ArgumentError for an unknown scheme, mode or option, a bad number of branches, a hinge that is no finite number of at least 0,
 *   and weights that are not a finite number of at least 0 for each branch, or are all 0
 */
export function makeScheme(name: SchemeName, branches: number, options: SchemeOptions = {}): Scheme {
  const definition = schemeOf(name)
  checkWhole('makeScheme', branches, 'branches', 1, 2 ** 31 - 1)
  checkOptions('makeScheme', options, { weights: true, hinge: true, mode: true })
  const { weights = Array(branches).fill(1), hinge = 0, mode = 'serial' } = options
  if (!MODES.includes(mode)) throw refusal('makeScheme', mode, `one of ${MODES.join(', ')}`, 'mode')
  checkNumber('makeScheme', hinge, 'hinge')
  if (!(hinge >= 0 && Number.isFinite(hinge))) throw refusal('makeScheme', hinge, 'a finite number of at least 0', 'hinge')
  const isWeight = (weight: number) => weight >= 0 && Number.isFinite(weight)
  const fits = Array.isArray(weights) && weights.length === branches && weights.every(isWeight)
  if (!fits || !weights.some((weight) => weight > 0)) {
    throw refusal('makeScheme', weights, `${branches} finite numbers of at least 0, not all 0`, 'weights')
  }
  return instantiate(definition, branches, { weights, hinge, mode })
}
