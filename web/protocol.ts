// Messages between the page and its worker, which has the device.
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

/** A run that is open. */
export interface RunInfo {
  settings: Settings
  step: number
  totalSteps: number
  branches: number
  parameters: number
  trainImages: number
  evaluationImages: number
  metrics: Metric[]
}

/** What a run is doing. A run that has failed says why. */
export type RunState = { kind: 'paused' | 'running' | 'finished' } | { kind: 'failed'; message: string }

/** A model that answers in the tab Try. */
export interface ModelInfo {
  from: string
  branches: number
  channels: number
  size: number
  grid: number
  classNames: string[]
}

/** An image with the branches that answer, in the order in which they are added. */
export interface Question {
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
  /** Whether an earlier visit saved a run that can go on. */
  savedRun(): Promise<boolean>
  /** Opens a new run, which is paused. The saved one is gone. */
  open(settings: Partial<Settings>): Promise<RunInfo>
  /** Opens the saved run, which is paused. */
  resume(): Promise<RunInfo>
  /** Trains so many mini-batches, or to the end. */
  run(steps?: number): Promise<void>
  pause(): Promise<void>
  /** Ends the run and removes what is saved of it. */
  discard(): Promise<void>
  /** Destroys the device, as a driver's reset would. */
  loseDevice(): Promise<void>
  /** The bytes of the run's checkpoint. */
  checkpoint(): Promise<Uint8Array>
  /** Takes the model of the run, of a file, or the one that comes with the page. */
  model(source: 'run' | 'shipped' | { name: string; file: Blob }): Promise<ModelInfo>
  ask(question: Question): Promise<Answer>
}

/** What the worker tells without being asked. */
export type Told =
  | { kind: 'metrics'; metrics: Metric[]; step: number; liveBytes: number; peakBytes: number }
  | { kind: 'evaluating'; images: number; of: number }
  | { kind: 'state'; state: RunState }
  | { kind: 'note'; text: string }

/** The worker as the page calls it. */
export type PageWorker = Client<Calls, Told>
