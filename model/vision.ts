import { checkBoolean, checkFunction } from '../engine/base/checks.ts'
import { kindOf } from '../engine/base/kind.ts'
import { checkOptions, type OptionNames } from '../engine/base/options.ts'
import { autocast, colocate, concat, randn, recompute, ShapeError, type Tensor, UserError } from '../engine/index.ts'
import { checkTensor } from '../engine/tensor/arguments.ts'
import { branchShape, type ModelConfig } from './config.ts'
import { clsRow, EncoderLayer, type LayerConfig, LayerNorm, Linear } from './layers.ts'
import type { Mode } from './modes.ts'
import { Module, type Parameter, parameter } from './module.ts'
import { patches } from './patches.ts'
import { type Tap, tidy, under } from './taps.ts'

/** What products and attention of stem and branches compute with. */
export const PRECISIONS = ['f32', 'mixed'] as const
export type Precision = (typeof PRECISIONS)[number]

export interface ForwardOptions {
  /** Uses only the first so many branches: the prefix model; default all. */
  branches?: number | undefined
  /** How the branches run; default `serial`. */
  mode?: Mode | undefined
  /** Whether the last layer of each branch computes only the CLS row where only that is read; default true. */
  skipDeadTokens?: boolean | undefined
  /**
   * What the branches gave on their devices, [k, B, D], or only their sum, [1, B, D]: taken instead of running any (ParaFormer only).
   */
  outputs?: Tensor | undefined
  /** Is handed the intermediate values; they live as long as what the caller's scope makes. */
  taps?: Tap | undefined
}

const OPTIONS: OptionNames<ForwardOptions> = { branches: true, mode: true, skipDeadTokens: true, outputs: true, taps: true }

/** @throws ArgumentError for images that are no tensor, unknown options, and options of a wrong kind */
export function checkForward(op: string, images: unknown, options: ForwardOptions): void {
  checkTensor(op, images, 'images')
  checkOptions(op, options, OPTIONS)
  const { skipDeadTokens, outputs, taps } = options
  if (skipDeadTokens !== undefined) checkBoolean(op, skipDeadTokens, 'skipDeadTokens')
  if (outputs !== undefined) checkTensor(op, outputs, 'outputs')
  if (taps !== undefined) checkFunction(op, taps, 'taps')
}

/** Encoder layers one after the other. */
export class Branch extends Module {
  readonly layers: EncoderLayer[]

  constructor(depth: number, config: LayerConfig) {
    super()
    this.layers = Array.from({ length: depth }, () => new EncoderLayer(config))
  }

  /**
   * [B, N, D] -> [B, N, D]; with `clsOnly` [B, 1, D], the CLS row of the same result: the last layer computes no other.
   * @param options.recomputes whether layers keep only their inputs for backward (without taps)
   */
  forward(x: Tensor, options: { clsOnly?: boolean; recomputes?: boolean; tap?: Tap | undefined } = {}): Tensor {
    const { clsOnly = false, recomputes = false, tap } = options
    return this.layers.reduce((z, layer, l) => {
      const last = l === this.layers.length - 1
      const name = `layers.${l}`
      const run = (z: Tensor) => layer.forward(z, { clsOnly: clsOnly && last, tap: under(tap, name) })
      const out = recomputes && !tap ? recompute(run, z) : tidy(tap, () => run(z))
      tap?.(name, out)
      return out
    }, x)
  }
}

/** LayerNorm, then the classifier. */
export class Head extends Module {
  readonly norm: LayerNorm
  readonly linear: Linear

  constructor(dim: number, classes: number) {
    super()
    this.norm = new LayerNorm(dim)
    this.linear = new Linear(dim, classes)
  }

  /** [..., D] -> [..., classes] */
  forward(features: Tensor): Tensor {
    return tidy(undefined, () => this.linear.forward(this.norm.forward(features), { dtype: 'float32' }))
  }
}

/** What ParaFormer and ViT share: the stem (images to a sequence of tokens), branches and the head. */
export abstract class VisionModel<C extends ModelConfig> extends Module {
  readonly config: C
  readonly embed: Linear
  readonly clsToken: Parameter
  readonly posEmbedding: Parameter
  readonly branches: Branch[]
  readonly head: Head
  /**
   * `mixed`: stem and branches run in `autocast('float16')`, on devices that have it. Parameters, residuals, head and results stay float32.
   */
  precision: Precision = 'f32'
  /** Whether layers of the branches keep only their inputs for backward and run again for it: less memory, more time (`recompute`). */
  recomputes = false
  /** Branches that mode `coalesced` joins at a time; default all. Fewer take less memory and more dispatches. */
  coalesces: number | undefined

  /**
   * @param config complete and checked
   * @param own branches that live on this device; default all. The others leave holes, so that names stay
   */
  constructor(config: C, own?: readonly number[]) {
    super()
    const { imageSize, patchSize, channels, dim, classes } = config
    const { branches, depth } = branchShape(config)
    const tokens = (imageSize / patchSize) ** 2
    this.config = config
    this.embed = new Linear(channels * patchSize ** 2, dim)
    this.clsToken = parameter(() => randn([1, 1, dim]))
    this.posEmbedding = parameter(() => randn([1, tokens + 1, dim]))
    this.branches = []
    for (const i of own ?? Array(branches).keys()) this.branches[i] = new Branch(depth, config)
    this.head = new Head(dim, classes)
  }

  /**
   * What the head reads.
   * @param images float32 [B, C, H, W]
   * @returns [B, D]
   */
  abstract features(images: Tensor, options?: ForwardOptions): Tensor

  /**
   * Logits of the model, or of one of its prefixes.
   * @param images float32 [B, C, H, W], of the config's channels and size
   * @returns [B, classes]
   * @throws ShapeError for images of another shape or dtype; UserError for a prefix or mode that does not exist; ArgumentError for what is no
   *   tensor and unknown options
   */
  forward(images: Tensor, options: ForwardOptions = {}): Tensor {
    checkForward('forward', images, options)
    return tidy(options.taps, () => this.head.forward(this.features(images, options)))
  }

  /** Moves the parameters side by side, those of branches evenly, so that mode `coalesced` can join what branches do. */
  colocate(): void {
    // Holes are left out.
    colocate(this.parameters(), () => [this.branches.flatMap((branch) => [branch.parameters()])])
  }

  /** Runs `fn`, which computes stem and branches. */
  protected inPrecision<T>(fn: () => T): T {
    if (!PRECISIONS.includes(this.precision)) {
      throw new UserError(`precision ${kindOf(this.precision)} is unknown; choose ${PRECISIONS.join(' or ')}`)
    }
    return this.precision === 'mixed' ? autocast('float16', fn) : fn()
  }

  /** The stem: images [B, C, H, W] -> CLS token and patches with their positions, [B, T + 1, D]. */
  protected sequence(images: Tensor, tap: Tap | undefined): Tensor {
    const { channels, imageSize, patchSize, dim, dropout: p } = this.config
    const [B = 0, ...rest] = images.shape
    if (images.dtype === 'int32' || rest.join() !== [channels, imageSize, imageSize].join()) {
      const given = images.shape.join(', ')
      const dtype = images.dtype === 'int32' ? 'int32 ' : ''
      throw new ShapeError(`model: images are ${dtype}[${given}]; this one takes [B, ${channels}, ${imageSize}, ${imageSize}]`)
    }
    const x = tidy(tap, () => {
      // What residuals are added to is float32 inside `autocast` too.
      const tokens = this.embed.forward(patches(images, patchSize), { dtype: 'float32' }) // [B, T, D]
      const cls = this.clsToken.broadcastTo([B, 1, dim]) // [B, 1, D]
      const embedded = concat([cls, tokens], 1).add(this.posEmbedding) // [B, T + 1, D]
      return this.training && p > 0 ? embedded.dropout(p) : embedded
    })
    tap?.('embed', x)
    return x
  }

  /** One branch: the sequence [B, T + 1, D] -> the part of its output that the head reads, [B, D]. */
  protected branchOutput(i: number, x: Tensor, { skipDeadTokens = true, taps }: ForwardOptions): Tensor {
    const cls = this.config.pool === 'cls'
    return tidy(taps, () => {
      const name = `branches.${i}`
      const options = { clsOnly: cls && skipDeadTokens, recomputes: this.recomputes, tap: under(taps, name) }
      const z = this.branches[i]!.forward(x, options) // [B, T + 1 or 1, D]
      taps?.(name, z)
      return cls ? clsRow(z).reshape([z.shape[0]!, z.shape[2]!]) : z.mean(1) // [B, D]
    })
  }
}
