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
export { decodeImage, type PlanarImage, readImage } from './data/images.ts'
export { BranchDevices, type StepValues } from './devices/branchDevices.ts'
export { type DistributeOptions, distributeBranches } from './devices/distribute.ts'
export { AdamW, type AdamWOptions, decays } from './optim/adamW.ts'
export { LossScale, type LossScaleOptions } from './optim/lossScale.ts'
export { type Schedule, type ScheduleName, schedule } from './optim/schedule.ts'
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
