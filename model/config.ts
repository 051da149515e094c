import { refusal } from '../engine/base/checks.ts'
import { UserError } from '../engine/base/errors.ts'
import { kindOf } from '../engine/base/kind.ts'
import { suggestion } from '../engine/base/options.ts'

export type Architecture = 'paraformer' | 'vit'

/** `paper`: y = f(u) + u with u = LayerNorm(x), as the authors' code does; `preNorm`: y = f(LayerNorm(x)) + x, the textbook's. */
export type Residual = 'paper' | 'preNorm'

/** What the head reads: the CLS row, or the mean over all tokens (CLS included). */
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
  /** Width of one head; heads * dimHead need not be `dim`. */
  dimHead: number
  /** Hidden width of the MLP. */
  mlpDim: number
  classes: number
  residual: Residual
  pool: Pool
  /** Probability of dropping an element of the embedded sequence, in training only. */
  dropout: number
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

export type ModelConfig = ParaFormerConfig | ViTConfig
export type ConfigOf<A extends Architecture> = Extract<ModelConfig, { architecture: A }>

/** A config of the architecture with any field left out. */
export type PartialConfig<A extends Architecture = Architecture> = A extends Architecture ? Partial<ConfigOf<A>> : never

/**
 * The paper's model, and beside it a textbook ViT of as many layers and parameters.
 */
export const DEFAULT_CONFIGS: { readonly [A in Architecture]: Readonly<ConfigOf<A>> } = {
  paraformer: {
    architecture: 'paraformer',
    imageSize: 224,
    patchSize: 16,
    channels: 3,
    dim: 192,
    heads: 3,
    dimHead: 64,
    mlpDim: 768,
    branches: 8,
    branchDepth: 2,
    classes: 10,
    residual: 'paper',
    pool: 'cls',
    dropout: 0.1,
  },
  vit: {
    architecture: 'vit',
    imageSize: 224,
    patchSize: 16,
    channels: 3,
    dim: 192,
    heads: 3,
    dimHead: 64,
    mlpDim: 768,
    depth: 16,
    classes: 10,
    residual: 'preNorm',
    pool: 'cls',
    dropout: 0.1,
  },
}

/** The largest value of each size; what is larger is a slip, or a file that means harm. */
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
  depth: 4096,
  classes: 2 ** 20,
} as const

/** Encoder layers of all branches, tokens of an image, elements of one parameter and of all: what is built or allocated before it runs. */
const MOST_LAYERS = 2 ** 14
const MOST_TOKENS = 2 ** 18 + 1
const MOST_ELEMENTS = 2 ** 29
const MOST_PARAMETERS = 2 ** 33

const NAMES: Record<string, readonly string[]> = { residual: ['paper', 'preNorm'], pool: ['cls', 'mean'] }

/**
 * Fills what is left out with the defaults and checks every field.
 * @param given a config with any field missing; anything at all where it was read from a file
 * @param architecture the one it must be; without it the config says, or it is a ParaFormer
 * @returns a new, complete config with its keys in a fixed order
 * @throws UserError in one line: which field, what is wrong, what to do
 */
export function checkConfig<A extends Architecture = Architecture>(given: unknown, architecture?: A): ConfigOf<A> {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new UserError(
      `the model config is ${kindOf(given)}; give an object such as {"architecture": "paraformer", "dim": 192}`,
    )
  }
  const fields = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
  const named = fields.architecture ?? architecture ?? 'paraformer'
  if (typeof named !== 'string' || !Object.hasOwn(DEFAULT_CONFIGS, named)) {
    throw new UserError(`architecture ${kindOf(named)} is unknown; choose ${Object.keys(DEFAULT_CONFIGS).join(' or ')}`)
  }
  if (architecture !== undefined && named !== architecture) {
    throw new UserError(
      `this config is of a ${named}, not of a ${plain(architecture)}; leave architecture out or use createModel()`,
    )
  }
  const defaults = DEFAULT_CONFIGS[named as Architecture]
  const unknown = Object.keys(fields).filter((key) => !Object.hasOwn(defaults, key))
  if (unknown.length > 0) {
    const known = Object.keys(defaults)
    const meant = suggestion(unknown[0]!, known)
    throw new UserError(
      `unknown model config key ${unknown.map(plain).join(', ')}${meant}; a ${named} takes ${known.join(', ')}`,
    )
  }
  const config = { ...defaults, ...fields }
  for (const [key, value] of Object.entries(config)) if (key !== 'architecture') checkField(key, value)
  const { imageSize, patchSize } = config
  if (imageSize % patchSize !== 0) {
    const divisors = Array.from({ length: Math.min(imageSize, 1024) }, (_, i) => i + 1).filter((n) => imageSize % n === 0)
    throw new UserError(`patchSize ${patchSize} does not divide imageSize ${imageSize}; choose one of ${divisors.join(', ')}`)
  }
  checkTotals(config as unknown as ModelConfig)
  return config as unknown as ConfigOf<A>
}

/** Sizes that are sound one by one can still be too much together. */
function checkTotals(config: ModelConfig): void {
  const { imageSize, patchSize, channels, dim, heads, dimHead, mlpDim, classes } = config
  const { branches, depth } = branchShape(config)
  const tokens = (imageSize / patchSize) ** 2 + 1
  const inner = heads * dimHead
  const widest = Math.max(patchSize ** 2 * channels, tokens, 3 * inner, mlpDim, classes)
  const layer = dim * (4 * inner + 2 * mlpDim)
  const all = branches * depth * layer + dim * (patchSize ** 2 * channels + tokens + classes)
  const check = (value: number, most: number, what: string, lower: string) => {
    if (value > most) throw new UserError(`${value} ${what} are more than ${most}; lower ${lower}`)
  }
  check(branches * depth, MOST_LAYERS, 'encoder layers', config.architecture === 'vit' ? 'depth' : 'branches or branchDepth')
  check(tokens, MOST_TOKENS, 'tokens of an image', 'imageSize or raise patchSize')
  check(dim * widest, MOST_ELEMENTS, 'elements of one parameter', 'dim, heads, dimHead, mlpDim or classes')
  check(all, MOST_PARAMETERS, 'parameters', 'dim, mlpDim or the number of layers')
}

/**
 * Reads a config from JSON, as checkpoints carry it; `JSON.stringify(config)` writes it.
 * @throws UserError in one line for bad JSON or a bad config
 */
export function parseConfig(json: string): ModelConfig {
  let given: unknown
  try {
    given = JSON.parse(json)
  } catch {
    throw new UserError(`the model config is not JSON: ${kindOf(json)}; use a checkpoint that this project wrote`)
  }
  return checkConfig(given)
}

/** Parallel branches and encoder layers a branch; a ViT is one branch. @throws ArgumentError for what is no config */
export function branchShape(config: ModelConfig): { branches: number; depth: number } {
  if (typeof config !== 'object' || config === null) throw refusal('branchShape', config, 'a model config')
  return config.architecture === 'vit'
    ? { branches: 1, depth: config.depth }
    : { branches: config.branches, depth: config.branchDepth }
}

/**
 * The number of branches of a prefix.
 * @param branches 1 up to the model's; undefined means all
 * @throws UserError for any other number
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
  } else if (key === 'dropout') {
    if (typeof value !== 'number' || !(value >= 0 && value < 1)) {
      throw new UserError(`dropout ${kindOf(value)} is not a probability; give a number from 0 to below 1`)
    }
  } else {
    const most = CONFIG_LIMITS[key as keyof typeof CONFIG_LIMITS]
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > most) {
      throw new UserError(`${key} ${kindOf(value)} is not a positive integer of at most ${most}; give 1 or more`)
    }
  }
}

/** A name as it is, anything else quoted. */
function plain(name: unknown): string {
  return typeof name === 'string' && /^\w{1,40}$/.test(name) ? name : kindOf(name)
}
