// The package's entry, for Node and browsers.
/// <reference lib="dom" preserve="true" />
export * from '../engine/index.ts'
export * from '../model/index.ts'
export {
  type LoadSafetensorsOptions,
  loadSafetensors,
  type OpenSafetensors,
  openSafetensors,
  type Saveable,
  saveSafetensors,
  type TensorInfo,
  toFloat32,
} from './checkpoint/files.ts'
export { decodeSafetensors, encodeSafetensors, type SafetensorsEntry, type SafetensorsFile } from './checkpoint/safetensors.ts'
export type { Dataset, DatasetKind, DatasetName, LoadOptions, Split } from './data/datasets.ts'
export { decodeImage, type PlanarImage, readImage } from './data/images.ts'
export { type Batch, BatchLoader, type LoaderOptions } from './data/loader.ts'
export { BranchDevices, type StepValues } from './devices/branchDevices.ts'
export { type DistributeOptions, distributeBranches } from './devices/distribute.ts'
export { type Evaluation, evaluate } from './evaluate.ts'
export { expand, loadDataset, openData } from './host/host.ts'
export { AdamW, type AdamWOptions, decays } from './optim/adamW.ts'
export { LossScale, type LossScaleOptions } from './optim/lossScale.ts'
export { type Schedule, type ScheduleName, schedule } from './optim/schedule.ts'
export { type PredictImages, type PredictOptions, predict } from './predict.ts'
export { type Checkpoint, readCheckpoint, readRun, type SavedRun } from './run/checkpoint.ts'
export type { RunData } from './run/loaders.ts'
export { type StartOptions, startTrainer } from './run/start.ts'
export { Trainer } from './run/trainer.ts'
export type { StepReport, TrainerHooks, TrainerParts } from './run/trainerParts.ts'
export {
  type CapturedStep,
  captureStep,
  defineScheme,
  type MicroBatch,
  makeScheme,
  type Objective,
  optimizerStep,
  type Scheme,
  type SchemeDefinition,
  type SchemeName,
  type SchemeOptions,
  type StepPlace,
  type StepResult,
} from './schemes/index.ts'
export { checkSettings, type SettingName, type Settings } from './settings.ts'
export {
  type CompressedExit,
  type CompressedPrefix,
  type Compression,
  type CompressOptions,
  compress,
} from './study/compress/compress.ts'
export { type CutModel, cutModel, type SavedDtype } from './study/compress/cut.ts'
export type { ExpandOptions, Expansion, ExpansionStage } from './study/expand/expand.ts'
export { type BaseModel, expandModel, type Init } from './study/expand/model.ts'
export { classGroups, classTasks, datasetTasks, permutedTasks, rotatedTasks, type Task } from './study/expand/splits.ts'
export { ExpansionStoppedError } from './study/expand/stopped.ts'
export type { ExpansionRun, KeptRun, KeptRuns, TrainedTask } from './study/expand/train.ts'
export type { ExpansionArm, Freeze, Softmax } from './study/expand/ways.ts'
export { withParametersOf } from './study/plan/alike.ts'
export {
  type Arm,
  type Budget,
  defineStudy,
  type ModelCount,
  type Procedure,
  type Range,
  type Rule,
  type Study,
  type Tuning,
} from './study/plan/define.ts'
export { STUDY_PRESETS } from './study/plan/presets.ts'
