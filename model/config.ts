import { refusal } from '../engine/base/checks.ts'
import { UserError } from '../engine/base/errors.ts'
import { kindOf } from '../engine/base/kind.ts'
import { suggestion } from '../engine/base/options.ts'

export type Architecture = 'paraformer' | 'vit' | 'ensemble'

/** `paper`: y = f(u) + u with u = LayerNorm(x), as in the authors' code; `preNorm`: y = f(LayerNorm(x)) + x, the textbook's. */
export type Residual = 'paper' | 'preNorm'

/** The input of the head: the CLS row, or the mean over all tokens (CLS included). */
export type Pool = 'cls' | 'mean'

interface SharedConfig {
  /** Height and width of the images, in pixels. */
  imageSize: number
  /** Height and width of a patch; divides `imageSize`. */
  patchSize: number
  channels: number
  /** Width D of the residual stream. */
  dim: number
  heads: number
  /** Width of a head; heads * dimHead need not be `dim`. */
  dimHead: number
  /** Hidden width of the MLP. */
  mlpDim: number
  classes: number
  residual: Residual
  pool: Pool
  /** Probability that dropout zeroes an element of the embedded sequence, in training only. */
  dropout: number
  /** Whether queries, keys and values have a bias, as in the ViTs of others; default false. */
  qkvBias?: boolean
  /** The eps of every LayerNorm; default 1e-5. */
  normEps?: number
}

export interface ParaFormerConfig extends SharedConfig {
  architecture: 'paraformer'
  /** Parallel branches m. */
  branches: number
  /** Encoder layers of each branch. */
  branchDepth: number
}

export interface ViTConfig extends SharedConfig {
  architecture: 'vit'
  /** Encoder layers. */
  depth: number
}

export interface EnsembleConfig extends SharedConfig {
  architecture: 'ensemble'
  /** Independent ViTs m, whose logits are averaged. */
  members: number
  /** Encoder layers of each member. */
  depth: number
}

export type ModelConfig = ParaFormerConfig | ViTConfig | EnsembleConfig
export type ConfigOf<A extends Architecture> = Extract<ModelConfig, { architecture: A }>

/** A config of the architecture with any field left out. */
export type PartialConfig<A extends Architecture = Architecture> = A extends Architecture ? Partial<ConfigOf<A>> : never

const SIZES = { imageSize: 224, patchSize: 16, channels: 3, dim: 192, heads: 3, dimHead: 64, mlpDim: 768 }

/** The paper's model, a textbook ViT of as many layers and parameters, and an ensemble of as many layers. */
export const DEFAULT_CONFIGS: { readonly [A in Architecture]: Readonly<ConfigOf<A>> } = {
  paraformer: {
    architecture: 'paraformer',
    ...SIZES,
    branches: 8,
    branchDepth: 2,
    classes: 10,
    residual: 'paper',
    pool: 'cls',
    dropout: 0.1,
  },
  vit: { architecture: 'vit', ...SIZES, depth: 16, classes: 10, residual: 'preNorm', pool: 'cls', dropout: 0.1 },
  ensemble: {
    architecture: 'ensemble',
    ...SIZES,
    members: 8,
    depth: 2,
    classes: 10,
    residual: 'preNorm',
    pool: 'cls',
    dropout: 0.1,
  },
}

/** The largest value of each size; a larger one is a slip or comes from a malicious file. */
export const CONFIG_LIMITS = {
  imageSize: 8192,
  patchSize: 8192,
  channels: 1024,
  dim: 65536,
  heads: 4096,
  dimHead: 65536,
  mlpDim: 2 ** 20,
  branches: 4096,
  branchDepth: 4096,
  members: 4096,
  depth: 4096,
  classes: 2 ** 20,
} as const

/** Encoder layers of all branches. */
const MAX_LAYERS = 2 ** 14
/** Tokens of an image, CLS included. */
const MAX_TOKENS = 2 ** 18 + 1
/** Elements of one parameter. */
const MAX_ELEMENTS = 2 ** 29
/** Elements of all parameters together. */
const MAX_PARAMETERS = 2 ** 33

/** Fields that give the number of layers. */
const LAYERS: Readonly<Record<Architecture, string>> = {
  paraformer: 'branches or branchDepth',
  vit: 'depth',
  ensemble: 'members or depth',
}

/** Fields that a config has only where they differ from what is usual. */
const OPTIONAL: readonly string[] = ['qkvBias', 'normEps'] satisfies (keyof SharedConfig)[]

const NAMES: Record<string, readonly string[]> = { residual: ['paper', 'preNorm'], pool: ['cls', 'mean'] }

/**
 * Fills in the defaults of missing fields and checks every field.
 * @param config a config with any field missing; it may be any value, since files hold configs too
 * @param architecture the architecture that the config must have; default its own, or else paraformer
 * @returns a new, complete config with its keys in a fixed order
 * @throws UserError in one line: which field, what is wrong, what to do
 */
export function checkConfig<A extends Architecture = Architecture>(config: unknown, architecture?: A): ConfigOf<A> {
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw new UserError(
      `the model config is ${kindOf(config)}; give an object such as {"architecture": "paraformer", "dim": 192}`,
    )
  }
  const fields = Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined))
  const named = fields.architecture ?? architecture ?? 'paraformer'
  if (typeof named !== 'string' || !Object.hasOwn(DEFAULT_CONFIGS, named)) {
    throw new UserError(`architecture ${kindOf(named)} is unknown; choose ${Object.keys(DEFAULT_CONFIGS).join(', ')}`)
  }
  if (architecture !== undefined && named !== architecture) {
    throw new UserError(
      `this config is of ${withArticle(named)}, not of ${withArticle(plain(architecture))}; leave architecture out or use createModel()`,
    )
  }
  const defaults = DEFAULT_CONFIGS[named as Architecture]
  const known = [...Object.keys(defaults), ...OPTIONAL]
  const unknown = Object.keys(fields).filter((key) => !known.includes(key))
  if (unknown.length > 0) {
    const meant = suggestion(unknown[0]!, known)
    throw new UserError(
      `unknown model config key ${unknown.map(plain).join(', ')}${meant}; ${withArticle(named)} takes ${known.join(', ')}`,
    )
  }
  const complete = { ...defaults, ...inOrder(fields, known) }
  for (const [key, value] of Object.entries(complete)) if (key !== 'architecture') checkField(key, value)
  const { imageSize, patchSize } = complete
  if (imageSize % patchSize !== 0) {
    const divisors = Array.from({ length: Math.min(imageSize, 1024) }, (_, i) => i + 1).filter((n) => imageSize % n === 0)
    throw new UserError(`patchSize ${patchSize} does not divide imageSize ${imageSize}; choose one of ${divisors.join(', ')}`)
  }
  checkTotals(complete as unknown as ModelConfig)
  return complete as unknown as ConfigOf<A>
}

/** The fields in the order of the keys. */
function inOrder(fields: Record<string, unknown>, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(keys.flatMap((key) => (Object.hasOwn(fields, key) ? [[key, fields[key]]] : [])))
}

/** @throws UserError for fields that are valid one by one and too large together */
function checkTotals(config: ModelConfig): void {
  const { imageSize, patchSize, channels, dim, heads, dimHead, mlpDim, classes } = config
  const { branches, depth } = branchShape(config)
  const tokens = (imageSize / patchSize) ** 2 + 1
  const inner = heads * dimHead
  const widest = Math.max(patchSize ** 2 * channels, tokens, 3 * inner, mlpDim, classes)
  const layer = dim * (4 * inner + 2 * mlpDim)
  const stems = config.architecture === 'ensemble' ? branches : 1
  const all = branches * depth * layer + stems * dim * (patchSize ** 2 * channels + tokens + classes)
  const check = (value: number, max: number, what: string, lower: string) => {
    if (value > max) throw new UserError(`${value} ${what} are more than ${max}; lower ${lower}`)
  }
  check(branches * depth, MAX_LAYERS, 'encoder layers', LAYERS[config.architecture])
  check(tokens, MAX_TOKENS, 'tokens of an image', 'imageSize or raise patchSize')
  check(dim * widest, MAX_ELEMENTS, 'elements of one parameter', 'dim, heads, dimHead, mlpDim or classes')
  check(all, MAX_PARAMETERS, 'parameters', 'dim, mlpDim or the number of layers')
}

/** Parses the config of a checkpoint; `JSON.stringify(config)` writes it. @throws UserError in one line for bad JSON or a bad config */
export function parseConfig(json: string): ModelConfig {
  let config: unknown
  try {
    config = JSON.parse(json)
  } catch {
    throw new UserError(`the model config is not JSON: ${kindOf(json)}; use a checkpoint that this project wrote`)
  }
  return checkConfig(config)
}

/**
 * Returns the number of branches and of encoder layers in each; a ViT is one branch, and each member of an ensemble is one.
 * @throws ArgumentError unless `config` is a model config
 */
export function branchShape(config: ModelConfig): { branches: number; depth: number } {
  if (typeof config !== 'object' || config === null) throw refusal('branchShape', config, 'a model config')
  const { architecture } = config
  if (architecture === 'vit') return { branches: 1, depth: config.depth }
  if (architecture === 'ensemble') return { branches: config.members, depth: config.depth }
  return { branches: config.branches, depth: config.branchDepth }
}

/**
 * Returns the number of branches of a prefix.
 * @param branches from 1 to those of the model; undefined means all
 * @throws UserError for any other number; ArgumentError when `config` is no object
 */
export function checkPrefix(config: ModelConfig, branches: number | undefined): number {
  if (typeof config !== 'object' || config === null) throw refusal('checkPrefix', config, 'a model config')
  const all = branchShape(config).branches
  if (branches === undefined) return all
  if (!Number.isInteger(branches) || branches < 1 || branches > all) {
    throw new UserError(
      `branches ${kindOf(branches)}: this ${config.architecture} has ${all}; give a whole number from 1 to ${all}`,
    )
  }
  return branches
}

function checkField(key: string, value: unknown): void {
  const names = NAMES[key]
  if (names) {
    if (!names.includes(value as string))
      throw new UserError(`${key} ${kindOf(value)} is unknown; choose ${names.join(' or ')}`)
  } else if (key === 'qkvBias') {
    if (typeof value !== 'boolean') throw new UserError(`qkvBias ${kindOf(value)} is neither true nor false`)
  } else if (key === 'normEps') {
    if (typeof value !== 'number' || !(value > 0 && value < 1))
      throw new UserError(`normEps ${kindOf(value)} is not a small positive number; give one such as 1e-6`)
  } else if (key === 'dropout') {
    if (typeof value !== 'number' || !(value >= 0 && value < 1)) {
      throw new UserError(`dropout ${kindOf(value)} is not a probability; give a number from 0 to below 1`)
    }
  } else {
    const max = CONFIG_LIMITS[key as keyof typeof CONFIG_LIMITS]
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > max) {
      throw new UserError(`${key} ${kindOf(value)} is not a positive integer of at most ${max}; give 1 or more`)
    }
  }
}

/** Returns the name of an architecture with its article. */
export function withArticle(architecture: string): string {
  return `${/^[aeiou]/.test(architecture) ? 'an' : 'a'} ${architecture}`
}

/** Returns a name as it is, any other value quoted. */
function plain(name: unknown): string {
  return typeof name === 'string' && /^\w{1,40}$/.test(name) ? name : kindOf(name)
}
