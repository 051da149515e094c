import { refusal } from '../engine/base/checks.ts'
import { colocate, concat, type Device, fork, stack, type Tensor, tensor } from '../engine/index.ts'
import { checkConfig, checkPrefix, type EnsembleConfig, type PartialConfig } from './config.ts'
import { tidy, under } from './layers.ts'
import { Module } from './module.ts'
import { checkForward, type ForwardOptions, type Precision } from './vision.ts'
import { ViT } from './vit.ts'

/**
 * An ensemble of m independent ViTs, whose logits are averaged (deep ensembles, arXiv 1612.01474). Its members share nothing, so that it
 * is what branches with one stem and one head are compared with. The first k members are prefix k:
 *
 *     f_k(x) = (ViT_1(x) + ... + ViT_k(x)) / k
 *
 * Taps: those of `ViT` behind `members.{i}.`.
 */
export class Ensemble extends Module {
  readonly config: EnsembleConfig
  readonly members: ViT[]

  /**
   * Draws fresh parameters from the random state of the default device.
   * @param config missing fields take the values of `DEFAULT_CONFIGS.ensemble`
   * @throws UserError in one line for a bad config
   */
  constructor(config: PartialConfig<'ensemble'> = {}) {
    super()
    this.config = checkConfig(config, 'ensemble')
    const { members, ...shared } = this.config
    this.members = Array.from({ length: members }, () => new ViT({ ...shared, architecture: 'vit' }))
  }

  /** The device that holds the parameters. */
  get device(): Device {
    return this.members[0]!.device
  }

  /** Precision of all members (see `VisionModel`). */
  get precision(): Precision {
    return this.members[0]!.precision
  }

  set precision(precision: Precision) {
    for (const member of this.members) member.precision = precision
  }

  /** Whether layers keep only their inputs for backward (see `VisionModel`). */
  get recomputes(): boolean {
    return this.members[0]!.recomputes
  }

  set recomputes(recomputes: boolean) {
    for (const member of this.members) member.recomputes = recomputes
  }

  /** Members that mode `coalesced` joins at a time; default all. */
  coalesces: number | undefined

  /**
   * Computes the mean of the members' logits.
   * @param images float32 [B, C, H, W], of the config's channels and size
   * @param options `branches` is the number of members that run, the first ones
   * @returns [B, classes]
   * @throws ShapeError for images of another shape or dtype; UserError for a number of members or a mode that does not exist;
   *   ArgumentError for images that are no tensor, unknown options, and those that only branches have
   */
  forward(images: Tensor, options: ForwardOptions = {}): Tensor {
    checkForward('forward', images, options)
    return tidy(options.taps, () => this.logits('forward', images, options).mean(0)) // [B, classes]
  }

  /**
   * Returns the logits of every prefix: the running mean of the members' logits.
   * @returns [k, B, classes], where row i is `forward(images, { branches: i + 1 })`
   * @throws as `forward`
   */
  forwardPrefixes(images: Tensor, options: ForwardOptions = {}): Tensor {
    checkForward('forwardPrefixes', images, options)
    return tidy(options.taps, () => {
      const sums = this.logits('forwardPrefixes', images, options).cumsum(0) // [k, B, classes]
      const k = sums.shape[0]!
      const shares = Array.from({ length: k }, (_, i) => 1 / (i + 1))
      return sums.mul(tensor(shares, { shape: [k, 1, 1], device: this.device })) // [k, B, classes]
    })
  }

  /** Returns the logits of each member alone, [k, B, classes]. @throws as `forward` */
  memberLogits(images: Tensor, options: ForwardOptions = {}): Tensor {
    checkForward('memberLogits', images, options)
    return tidy(options.taps, () => this.logits('memberLogits', images, options))
  }

  /** Returns the pooled outputs of the members side by side, [B, k * D]. @throws as `forward` */
  features(images: Tensor, options: ForwardOptions = {}): Tensor {
    checkForward('features', images, options)
    return tidy(options.taps, () => concat(this.run('features', images, options), 1)) // [B, k * D]
  }

  /** Returns the logits [B, classes] that belong to `features()`, [B, k * D]. */
  classify(features: Tensor): Tensor {
    const { dim } = this.config
    const k = features.shape[1]! / dim
    const logits = this.members.slice(0, k).map((member, i) => member.classify(features.slice([[], [i * dim, (i + 1) * dim]])))
    return stack(logits, 0).mean(0) // [B, classes]
  }

  /** Moves the parameters side by side, those of members evenly, so that mode `coalesced` can join the members' dispatches. */
  colocate(): void {
    colocate(this.parameters(), () => [this.members.map((member) => member.parameters())])
  }

  /** Returns the logits of each member alone, [k, B, classes]. @param op names the method in messages */
  private logits(op: string, images: Tensor, options: ForwardOptions): Tensor {
    return stack(this.run(op, images, options), 0)
  }

  /** Runs members, each in a lane of its own, up to their features or their logits. */
  private run(op: string, images: Tensor, options: ForwardOptions): Tensor[] {
    const what = op === 'features' ? 'features' : 'forward'
    const { branches, mode = 'serial', outputs, frozen = 0, taps, skipDeadTokens } = options
    for (const [name, value] of Object.entries({ outputs, frozen: frozen || undefined })) {
      if (value !== undefined) throw refusal(op, value, 'none: an ensemble has no branches', name)
    }
    const running = this.members.slice(0, checkPrefix(this.config, branches))
    if (mode === 'coalesced') this.colocate()
    const lanes = running.map((member, i) => {
      const name = `members.${i}`
      return [name, () => member[what](images, { skipDeadTokens, taps: under(taps, name) })] as const
    })
    return fork(this.device, mode, Object.fromEntries(lanes), { together: this.coalesces })
  }
}
