export { BRANCH_SCHEMES, makeScheme, SCHEME_NAMES, SCHEMES_OF, type SchemeName, schemeOf } from './builtIn.ts'
export { FlopCounter, trainingFlops } from './flops.ts'
export {
  defineScheme,
  instantiate,
  lastObjective,
  type MicroBatch,
  type Objective,
  type Scheme,
  type SchemeDefinition,
  type SchemeOptions,
  type StepPlace,
  stepsAt,
  updatesOf,
} from './scheme.ts'
export { type CapturedStep, captureStep, type ImagesOf, optimizerStep, type StepResult } from './step.ts'
