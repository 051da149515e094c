/** The package's entry, for Node and browsers. @module paraformer */
/// <reference lib="dom" preserve="true" />
/// <reference lib="esnext.disposable" preserve="true" />

export * from '../engine/index.ts'
export type { AugmentOptions } from '../kernels/augment/index.ts'
export type { CounterRandom } from '../kernels/random/counterRandom.ts'
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
export { type LoadNpyOptions, loadNpy, loadNpz, saveNpy, saveNpz } from './checkpoint/numpyFiles.ts'
export {
  decodeSafetensors,
  encodeSafetensors,
  type SafetensorsData,
  type SafetensorsEntry,
  type SafetensorsFile,
} from './checkpoint/safetensors.ts'
export type { OwnSettings } from './data/dataset.ts'
export type { Dataset, DatasetKind, DatasetName, LoadOptions, Split } from './data/datasets.ts'
export { decodeImage, type PlanarImage, readImage } from './data/images.ts'
export { type Batch, BatchLoader, type LoaderOptions, type LoaderState } from './data/loader.ts'
export type { LabelledImages } from './data/microBatch.ts'
export type { OwnFormat } from './data/names.ts'
export type { Labels } from './data/split.ts'
export { BranchDevices } from './devices/branchDevices.ts'
export { type DistributeOptions, distributeBranches, type ElsewhereDevice } from './devices/distribute.ts'
export type { Pulse } from './devices/heartbeat.ts'
export type { Pass } from './devices/passes.ts'
export type { StepValues } from './devices/stepValues.ts'
export type { Traffic } from './devices/traffic.ts'
export { type Evaluation, evaluate } from './evaluate.ts'
export { type ExportOptions, exportOnnx } from './exchange/exportOnnx.ts'
export { type ImportOptions, importViT } from './exchange/importViT.ts'
export { expand, loadDataset, openData } from './host/host.ts'
export type { Host } from './host/types.ts'
export type { Entries, ModelState } from './modelState.ts'
export { AdamW, type AdamWGroupOptions, type AdamWOptions, type AdamWSettings, type AdamWState } from './optim/adamW.ts'
export { Ema, type EmaOptions } from './optim/ema.ts'
export {
  decays,
  type GroupOptions,
  type OptimizerGroup,
  type OptimizerParameters,
  type ParameterGroup,
} from './optim/groups.ts'
export { Lion, type LionGroupOptions, type LionOptions, type LionState } from './optim/lion.ts'
export { LossScale, type LossScaleCopy, type LossScaleOptions, type LossScaleState } from './optim/lossScale.ts'
export { Muon, type MuonGroupOptions, type MuonOptions, type MuonState } from './optim/muon.ts'
export type { GivenParameter } from './optim/named.ts'
export type { Optimizer, OptimizerOptions } from './optim/optimizer.ts'
export { SCHEDULE_NAMES, type Schedule, type ScheduleName, type ScheduleOptions, schedule } from './optim/schedule.ts'
export { Sgd, type SgdGroupOptions, type SgdOptions, type SgdState } from './optim/sgd.ts'
export { type PredictImages, type PredictOptions, predict } from './predict.ts'
export {
  type Checkpoint,
  type LoopState,
  readCheckpoint,
  readRun,
  type SavedModel,
  type SavedOptimizer,
  type SavedRun,
} from './run/checkpoint.ts'
export type { RunData } from './run/loaders.ts'
export type { DataInfo, Position, TrainingState } from './run/metadata.ts'
export type { OpenOptions } from './run/openData.ts'
export { type StartOptions, startTrainer } from './run/start.ts'
export { Trainer } from './run/trainer.ts'
export type { StepReport, TrainerHooks, TrainerParts } from './run/trainerParts.ts'
export {
  type CapturedStep,
  captureStep,
  defineScheme,
  type FlopCounter,
  type MicroBatch,
  makeScheme,
  type Objective,
  optimizerStep,
  SCHEME_NAMES,
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
export { type CutModel, cutModel, SAVED_DTYPES, type SavedDtype } from './study/compress/cut.ts'
export type { Latency } from './study/compress/latency.ts'
export type { ExpandOptions, Expansion, ExpansionStage } from './study/expand/expand.ts'
export { type BaseModel, expandModel, INITS, type Init } from './study/expand/model.ts'
export {
  classGroups,
  classTasks,
  datasetTasks,
  permutedTasks,
  rotatedTasks,
  type Task,
  type TaskSource,
} from './study/expand/splits.ts'
export { ExpansionStoppedError } from './study/expand/stopped.ts'
export type { ExpansionRun, ImageShape, KeptRun, KeptRuns, TrainedTask } from './study/expand/train.ts'
export { EXPANSION_ARMS, type ExpansionArm, FREEZES, type Freeze, SOFTMAXES, type Softmax } from './study/expand/ways.ts'
export { withParametersOf } from './study/plan/alike.ts'
export {
  type Arm,
  type Budget,
  defineStudy,
  type ModelCount,
  type PipelineShape,
  type Procedure,
  type Range,
  type Rule,
  type Study,
  type Tuning,
} from './study/plan/define.ts'
export { STUDY_PRESETS } from './study/plan/presets.ts'
