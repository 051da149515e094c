import type { Device } from '../../engine/index.ts'
import type { Mode, Model } from '../../model/index.ts'
import type { BatchLoader } from '../data/loader.ts'
import type { BranchDevices } from '../devices/branchDevices.ts'
import type { ReplicaDevices } from '../devices/replicaDevices.ts'
import type { Evaluation } from '../evaluate.ts'
import type { Ema } from '../optim/ema.ts'
import type { Optimizer } from '../optim/optimizer.ts'
import type { SchemeDefinition } from '../schemes/index.ts'
import type { Settings } from '../settings.ts'
import type { ImageSource } from './imageSource.ts'
import type { Position } from './metadata.ts'

/** The values of a finished mini-batch. */
export interface StepReport {
  /** Epoch of the mini-batch, from 0. */
  epoch: number
  /** Pass of the mini-batch in the epoch, from 0. */
  pass: number
  /** Position after the mini-batch. */
  position: Position
  /** Seconds of training so far. */
  time: number
  /** Counted floating-point operations of the training so far, this mini-batch included, where they are known. */
  flops: number | undefined
  /** Losses before each optimizer step; entry j of a step is the loss of prefix `firstPrefixes + j`. */
  losses: number[][]
  /** Shares of the images that are classified right, laid out like `losses`. */
  accuracies: number[][]
  /** The prefix of the first loss of each optimizer step. */
  firstPrefixes: number[]
  /** Global norms of the gradients of the optimizer steps, before clipping. */
  norms: number[]
  /** Loss scale of the next step, in mixed precision. */
  lossScale?: number | undefined
  lr: number
  images: number
}

export interface TrainerHooks {
  /** Is called before a mini-batch, with the number of mini-batches done. */
  onBegin?(step: number): void
  /** Is called when the losses of a mini-batch are known. */
  onStep?(report: StepReport): void
  /** Is called after each batch of an evaluation, with its images done so far and in all. */
  onEvaluating?(images: number, of: number): void
  /** Is called after the evaluation of an epoch. */
  onEpoch?(evaluation: Evaluation & { epoch: number }): void | Promise<void>
  /** Is called between mini-batches when it is time to save; the device is idle. */
  onSave?(): Promise<void>
  /** Is called between mini-batches, and between the batches of an evaluation; true ends the run after a save. */
  shouldStop?(): boolean
}

export interface TrainerParts {
  device: Device
  model: Model
  optimizer: Optimizer
  /** Averages of the parameters, which are evaluated and become the finished model. */
  ema?: Ema | undefined
  train: BatchLoader
  evaluation: BatchLoader
  /** Makes the images of `train` and of `evaluation`; default the host. */
  sources?: { train: ImageSource; evaluation: ImageSource } | undefined
  settings: Settings
  /** The scheme; default the one that the settings name. */
  scheme?: SchemeDefinition | undefined
  /** Mini-batches between saves; each epoch ends with a save too. */
  saveEvery: number
  /** Mode in which the branches run; default `serial`. */
  mode?: Mode
  /** Devices on which the branches live; `model` and `optimizer` are those of device 0 then. Default `device` alone. */
  distributed?: BranchDevices | undefined
  /** Devices that have copies of the model; `model` and `optimizer` are those of device 0. Default none. @internal */
  replicas?: ReplicaDevices | undefined
  /** Runs every op of every step on the host instead of capturing and replaying steps, for debugging. */
  eager?: boolean
}

/** Several devices that train together, by branches or by copies of the model. */
export type SeveralDevices = BranchDevices | ReplicaDevices

/** Returns the devices that train together; undefined where there is one. */
export function severalDevices({ distributed, replicas }: TrainerParts): SeveralDevices | undefined {
  return distributed ?? replicas
}
