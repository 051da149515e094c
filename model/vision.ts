import { checkBoolean, checkFunction, checkWhole } from '../engine/base/checks.ts'
import { ShapeError, UserError } from '../engine/base/errors.ts'
import { kindOf } from '../engine/base/kind.ts'
import { checkOptions, type OptionNames } from '../engine/base/options.ts'
import type { Device, ForkMode, Tensor } from '../engine/index.ts'
import { autocast, colocate, embedSequence, FORK_MODES, fork, noGrad, randn, recompute } from '../engine/index.ts'
import { checkTensor } from '../engine/tensor/arguments.ts'
import { branchShape, checkPrefix, type ModelConfig } from './config.ts'
import { clsRow, EncoderLayer, type LayerConfig, LayerNorm, Linear, type Tap, tidy, under } from './layers.ts'
import { Module, type Parameter, parameter } from './module.ts'

/**
 * How the branches of a forward pass, and of its backward pass, run; the numbers are the same. `serial`: one after the other
 * on one stream, the reference. `streams`: each is recorded into a stream of its own, and they join where their outputs meet.
 * `coalesced`: they are recorded as in `streams`, then matching dispatches of all branches become one.
 */
export type Mode = ForkMode
export const MODES = FORK_MODES

/** The precision of the products and attention of stem and branches: float32, or float16 with float32 sums. */
export const PRECISIONS = ['f32', 'mixed'] as const
export type Precision = (typeof PRECISIONS)[number]

export interface ForwardOptions {
  /** The number k of the prefix: its first k branches run; default all. */
  branches?: number | undefined
  /** Mode in which the branches run; default `serial`. */
  mode?: Mode | undefined
  /** Whether the last layer of each branch computes only the CLS row where only that is read; default true. */
  skipDeadTokens?: boolean | undefined
  /** Outputs of branches that ran on their devices, [k, B, D], or their sum, [1, B, D]; no branch runs then (ParaFormer only). */
  outputs?: Tensor | undefined
  /** Number of branches, the first ones, that are constants together with the stem: no gradient flows into them; default 0. */
  frozen?: number | undefined
  /** Receives the intermediate values, which live as long as the caller's scope. */
  taps?: Tap | undefined
}

const OPTIONS: OptionNames<ForwardOptions> = {
  branches: true,
  mode: true,
  skipDeadTokens: true,
  outputs: true,
  frozen: true,
  taps: true,
}

/** @throws ArgumentError for images that are no tensor, unknown options, and options of a wrong kind */
export function checkForward(op: string, images: unknown, options: ForwardOptions): void {
  checkTensor(op, images, 'images')
  checkOptions(op, options, OPTIONS)
  const { skipDeadTokens, outputs, frozen, taps } = options
  if (skipDeadTokens !== undefined) checkBoolean(op, skipDeadTokens, 'skipDeadTokens')
  if (outputs !== undefined) checkTensor(op, outputs, 'outputs')
  if (frozen !== undefined) checkWhole(op, frozen, 'frozen', 0)
  if (taps !== undefined) checkFunction(op, taps, 'taps')
}

/** Stem (images to a sequence of tokens), branches and head: all of ParaFormer and ViT but how branch outputs become features. */
export abstract class VisionModel<C extends ModelConfig> extends Module {
  readonly config: C
  readonly embed: Linear
  readonly clsToken: Parameter
  readonly posEmbedding: Parameter
  readonly branches: Branch[]
  readonly head: Head
  /**
   * `mixed`: stem and branches run in `autocast('float16')`, which the device must support. Parameters, residuals, head and results
   * stay float32.
   */
  precision: Precision = 'f32'
  /** Whether layers of the branches keep only their inputs and run again in the backward pass: less memory, more time (`recompute`). */
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
    this.head = new Head(dim, classes, config.normEps)
  }

  /** Computes the input of the head. @param images float32 [B, C, H, W] @returns [B, D] */
  abstract features(images: Tensor, options?: ForwardOptions): Tensor

  /**
   * Computes the logits of the model, or of one of its prefixes.
   * @param images float32 [B, C, H, W], of the config's channels and size
   * @returns [B, classes]
   * @throws ShapeError for images of another shape or dtype; UserError for a prefix or mode that does not exist; ArgumentError for
   *   images that are no tensor and unknown options
   */
  forward(images: Tensor, options: ForwardOptions = {}): Tensor {
    checkForward('forward', images, options)
    return tidy(options.taps, () => this.head.forward(this.features(images, options)))
  }

  /** The device that holds the parameters. */
  get device(): Device {
    return this.posEmbedding.device
  }

  /** Runs the head on features [B, D], as `features()` returns them. @returns the logits [B, classes] */
  classify(features: Tensor): Tensor {
    return this.head.forward(features)
  }

  /** Moves the parameters side by side, those of branches evenly, so that mode `coalesced` can join the branches' dispatches. */
  colocate(): void {
    // Branches on other devices are holes of the array, which `flatMap` skips.
    colocate(this.parameters(), () => [this.branches.flatMap((branch) => [branch.parameters()])])
  }

  /**
   * Runs the stem, and the branches of a prefix that live on this device.
   * @returns their pooled outputs in order, [B, D] each; pooling is linear, so it may come before the sum
   * @throws ShapeError for images of another shape; UserError for a prefix, mode or precision that does not exist
   */
  protected runBranches(images: Tensor, options: ForwardOptions): Tensor[] {
    const { mode = 'serial', frozen = 0, taps } = options
    const prefix = this.branches.slice(0, checkPrefix(this.config, options.branches))
    if ((mode as string) === 'devices') {
      throw new UserError(
        'mode "devices" waits for other devices, which one call of forward() cannot do; use --mode devices on the command line, or BranchDevices',
      )
    }
    if (!PRECISIONS.includes(this.precision)) {
      throw new UserError(`precision ${kindOf(this.precision)} is unknown; choose ${PRECISIONS.join(' or ')}`)
    }
    if (mode === 'coalesced') this.colocate()
    const run = () => {
      const x = frozen > 0 ? noGrad(() => this.sequence(images, taps)) : this.sequence(images, taps) // [B, T + 1, D]
      const runs = prefix.flatMap((_, i) => {
        const run = () => this.branchOutput(i, x, options)
        return [[`branches.${i}`, i < frozen ? () => noGrad(run) : run] as const]
      })
      return fork(x.device, mode, Object.fromEntries(runs), { together: this.coalesces })
    }
    return this.precision === 'mixed' ? autocast('float16', run) : run()
  }

  /** Runs the stem: images [B, C, H, W] -> CLS token and patches with their positions, [B, T + 1, D]. */
  protected sequence(images: Tensor, tap: Tap | undefined): Tensor {
    const { channels, imageSize, patchSize, dropout: p } = this.config
    const [, ...rest] = images.shape
    if (images.dtype === 'int32' || rest.join() !== [channels, imageSize, imageSize].join()) {
      const got = images.shape.join(', ')
      const dtype = images.dtype === 'int32' ? 'int32 ' : ''
      throw new ShapeError(`model: images are ${dtype}[${got}]; this one takes [B, ${channels}, ${imageSize}, ${imageSize}]`)
    }
    const x = tidy(tap, () => {
      // Residuals are added in float32 inside `autocast` too.
      const tokens = this.embed.forward(patches(images, patchSize), { dtype: 'float32' }) // [B, T, D]
      const embedded = embedSequence(tokens, this.clsToken, this.posEmbedding) // [B, T + 1, D]
      return this.training && p > 0 ? embedded.dropout(p) : embedded
    })
    tap?.('embed', x)
    return x
  }

  /** Runs branch i on the sequence [B, T + 1, D] and pools its output, [B, D]. */
  protected branchOutput(i: number, x: Tensor, { skipDeadTokens = true, taps }: ForwardOptions): Tensor {
    const cls = this.config.pool === 'cls'
    return tidy(taps, () => {
      const name = `branches.${i}`
      const options = { clsOnly: cls && skipDeadTokens, recomputes: this.recomputes, tap: under(taps, name) }
      const z = this.branches[i]!.forward(x, options) // [B, T + 1 or 1, D]
      taps?.(name, z)
      return this.pool(z) // [B, D]
    })
  }

  /** Returns the row of a sequence that the head reads: [B, N, D] -> [B, D]. */
  protected pool(z: Tensor): Tensor {
    return this.config.pool === 'cls' ? clsRow(z).reshape([z.shape[0]!, z.shape[2]!]) : z.mean(1)
  }
}

/**
 * Cuts images into non-overlapping square patches, as a view that the last reshape copies once.
 * @param images [B, C, H, W], H and W multiples of `size`
 * @returns [B, T, size * size * C], patches row by row; inside a patch the order is (row, column, channel)
 */
export function patches(images: Tensor, size: number): Tensor {
  const [B, C, H, W] = images.shape as [number, number, number, number]
  const [rows, columns] = [H / size, W / size]
  return images
    .reshape([B, C, rows, size, columns, size]) // [B, C, rows, size, columns, size]
    .permute([0, 2, 4, 3, 5, 1]) // [B, rows, columns, size, size, C]
    .reshape([B, rows * columns, size * size * C]) // [B, T, size * size * C]
}

/** Encoder layers one after the other. */
export class Branch extends Module {
  readonly layers: EncoderLayer[]

  constructor(depth: number, config: LayerConfig) {
    super()
    this.layers = Array.from({ length: depth }, () => new EncoderLayer(config))
  }

  /**
   * [B, N, D] -> [B, N, D]; with `clsOnly` [B, 1, D], the CLS row of the same result, which is all that the last layer computes.
   * @param options.recomputes whether layers keep only their inputs for backward (ignored with a tap)
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

  constructor(dim: number, classes: number, normEps?: number) {
    super()
    this.norm = new LayerNorm(dim, normEps)
    this.linear = new Linear(dim, classes)
  }

  /** [..., D] -> [..., classes] */
  forward(features: Tensor): Tensor {
    return tidy(undefined, () => this.linear.forward(this.norm.forward(features), { dtype: 'float32' }))
  }
}
