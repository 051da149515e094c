import type { Device } from '../../engine/index.ts'
import type { Mode, Model } from '../../model/index.ts'
import type { BatchLoader } from '../data/loader.ts'
import type { BranchDevices } from '../devices/branchDevices.ts'
import type { Evaluation } from '../evaluate.ts'
import type { AdamW } from '../optim/adamW.ts'
import type { Settings } from '../settings.ts'
import type { Position } from './metadata.ts'

/** A mini-batch that the device has done. */
export interface StepReport {
  /** The epoch it belongs to, from 0. */
  epoch: number
  /** The next mini-batch after it. */
  position: Position
  /** Losses before each of its optimizer steps; entry j of a step is the loss of prefix `firstPrefixes + j`. */
  losses: number[][]
  /** Shares of the mini-batch that were classified right, laid out like `losses`. */
  accuracies: number[][]
  firstPrefixes: number[]
  norms: number[]
  /** Of the next step, in mixed precision. */
  lossScale?: number | undefined
  lr: number
  images: number
}

export interface TrainerHooks {
  /** Called before a mini-batch, with the number of those done. */
  onBegin?(step: number): void
  onStep?(report: StepReport): void
  onEvaluating?(images: number, of: number): void
  onEpoch?(evaluation: Evaluation & { epoch: number }): void | Promise<void>
  /** Called between mini-batches when it is time to save; the device is idle. */
  onSave?(): Promise<void>
  /** Asked between mini-batches, and between the batches of an evaluation; true ends the run after a save. */
  shouldStop?(): boolean
}

export interface TrainerParts {
  device: Device
  model: Model
  optimizer: AdamW
  train: BatchLoader
  evaluation: BatchLoader
  settings: Settings
  /** Mini-batches between saves, besides those after each epoch. */
  saveEvery: number
  /** How the branches run; default `serial`. */
  mode?: Mode
  /** Where the branches live, if not all on `device`; `model` and `optimizer` are those of device 0 then. */
  distributed?: BranchDevices | undefined
  /** Runs every op of every step on the host, for debugging, instead of capturing and replaying steps. */
  eager?: boolean
}
