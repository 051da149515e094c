// Messages between the page and its worker, which has the device.
import type { OwnFormat } from '../train/data/names.ts'
import type { BranchTimes } from '../train/run/branchTimes.ts'
import type { Metric } from '../train/run/metrics.ts'
import type { Settings } from '../train/settings.ts'
import type { Client } from './client.ts'

/** A device as the page shows it. */
export interface DeviceInfo {
  name: string
  driver: string
  software: boolean
  features: string[]
  limits: Record<string, number>
  subgroups: string
  tuned: Record<string, string>
}

/** A file of the user's, with its path below what was dropped or chosen. */
export interface GivenFile {
  path: string
  file: Blob
}

/** The user's own data. */
export interface OwnDataInfo {
  dir: string
  format: OwnFormat
  files: number
  /** Pixels of a side of its images, where the files say it. */
  side: number | undefined
}

/** Why a run did not open, where something can be done about it: leave out broken images, or take smaller mini-batches. */
export interface Refused {
  refused: 'brokenImage' | 'outOfMemory'
  message: string
}

/** A checkpoint that was opened: a run that goes on, or a model with whose parameters the next run begins. */
export type OpenedCheckpoint = { run: RunInfo } | { initial: Partial<Settings>; name: string }

/** A run that is open. */
export interface RunInfo {
  settings: Settings
  step: number
  totalSteps: number
  branches: number
  classes: number
  parameters: number
  trainImages: number
  evaluationImages: number
  metrics: Metric[]
  /** One line that names the files that were left out of the data. */
  leftOut: string | undefined
  /** Milliseconds of forward and backward of each branch on a mini-batch; undefined for an ensemble. */
  branchTimes: BranchTimes | undefined
}

/** The state of a run. A run that has failed says why. `saved` says whether there is a checkpoint. */
export type RunState =
  /** `kept` says whether the last checkpoint outlives the page. */
  | { kind: 'paused' | 'running' | 'finished'; kept: boolean; saved: boolean }
  | { kind: 'failed'; message: string; outOfMemory: boolean; saved: boolean }

/** Where an earlier visit saved a run: in this browser, for this tab or for another one that is open, or nowhere. */
export type SavedPlace = 'here' | 'elsewhere' | 'nowhere'

/** Where a model comes from: the open run, this page, or a file. */
export type ModelSource = 'run' | 'shipped' | { name: string; file: Blob }

/** A model that answers in the tab Try. */
export interface ModelInfo {
  /** Names the model in questions. */
  id: string
  from: string
  architecture: Settings['architecture']
  /** Branches, or members of an ensemble; one of a Vision Transformer. */
  branches: number
  /** Layers of a Vision Transformer. */
  layers: number | undefined
  channels: number
  size: number
  grid: number
  classNames: string[]
}

/** An image with the branches that answer, in the order in which they are added. */
export interface Question {
  /** The id of the model that is asked. */
  model: string
  /** Bytes [C, H, W] of the model's size. */
  pixels: Uint8Array
  order: number[]
}

export interface Answer {
  /** For each prefix of the order the probability of each class. */
  probabilities: number[][]
  /** For each branch of the model the weight of each patch, a mean over the heads. */
  attention: number[][]
}

/** The functions of the worker. */
export interface Calls {
  device(): Promise<DeviceInfo>
  /** Where an earlier visit saved a run that can go on. */
  savedRun(): Promise<SavedPlace>
  /** Whether a run is open. */
  isOpen(): Promise<boolean>
  /** The data of one's own that an earlier visit kept; undefined where there is none. */
  ownData(): Promise<OwnDataInfo | undefined>
  /** Takes files as the data of one's own, in place of the former ones. Where they are none, the former ones stay. */
  takeData(files: GivenFile[]): Promise<OwnDataInfo>
  /** Opens a new run, which is paused. The saved one is gone. It begins with the parameters of `initial`, if a model was opened. */
  open(settings: Partial<Settings>): Promise<RunInfo | Refused>
  /** Opens the saved run, which is paused. */
  resume(): Promise<RunInfo | Refused>
  /** Opens a checkpoint of the user's; a run of it becomes the saved one. */
  openCheckpoint(name: string, file: Blob): Promise<OpenedCheckpoint | Refused>
  /** Forgets the model with which the next run would begin. */
  forgetInitial(): Promise<void>
  /** Trains so many mini-batches, or to the end. */
  run(steps?: number): Promise<void>
  pause(): Promise<void>
  /** Saves the run soon if it trains. */
  save(): Promise<void>
  /** Ends the run and removes what is saved of it. */
  discard(): Promise<void>
  /** Destroys the device, as a driver's reset would. */
  loseDevice(): Promise<void>
  /** The bytes of the run's checkpoint. */
  checkpoint(): Promise<Uint8Array>
  /** Takes the model of the run, of a file, or the one that comes with the page. */
  model(source: ModelSource): Promise<ModelInfo>
  /** Reads an image file as a model takes it: bytes [C, H, W]; undefined where that model is not there any more. */
  readImage(model: string, name: string, file: Blob): Promise<Uint8Array | undefined>
  /** Asks a model; undefined where it is not there any more. */
  ask(question: Question): Promise<Answer | undefined>
}

/** A message that the worker sends without being asked. */
export type Told =
  | { kind: 'metrics'; metrics: Metric[]; step: number; liveBytes: number; peakBytes: number }
  | { kind: 'progress'; what: string; done: number; of: number }
  | { kind: 'state'; state: RunState }
  | { kind: 'note'; text: string }

/** The worker as the page calls it. */
export type PageWorker = Client<Calls, Told>
