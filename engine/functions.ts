// Every function of the engine. What imports this module alone has no methods on Tensor, so that bundlers leave out the ops that it does not use.

export type {
  Binding as KernelBinding,
  Capabilities,
  Constants as KernelConstants,
  Grid,
  KernelSpec,
  Param as KernelParam,
  ParamScalar,
  Scalar,
  Variant as KernelVariant,
} from '../kernels/spec.ts'
export { firstNonFinite } from './anomaly.ts'
export { colocate } from './autograd/arena.ts'
export type { Branches } from './autograd/arenaLayout.ts'
export { autocast } from './autograd/autocast.ts'
export { backward } from './autograd/backward.ts'
export { cast } from './autograd/cast.ts'
export { recompute } from './autograd/recompute.ts'
export {
  type DifferentiableContext,
  defineOp,
  type Inputs,
  noGrad,
  type OpContext,
  type OpDefinition,
  type Watcher,
  watchOps,
} from './autograd/tape.ts'
export type { Work } from './autotune/costModel.ts'
export type { TuningRecord } from './autotune/database.ts'
export { DeviceStore } from './autotune/store.ts'
export { TUNE, type Tune, type TuneOptions, type TuneReport, tuneDevice } from './autotune/tune.ts'
export * from './base/errors.ts'
export { type Captured, capture } from './capture.ts'
export type { CaptureStatistics } from './capturedStep.ts'
export { defaultDevice, requestDevice, setDefaultDevice } from './device/defaultDevice.ts'
export { Device } from './device/device.ts'
export type { RandomState } from './device/random.ts'
export { fork } from './fork.ts'
export type { UpdateParams } from './graph/graph.ts'
export { FORK_MODES, type ForkMode } from './graph/lane.ts'
export { type Dtype, type HalfSupport, requireFloat16 } from './layout/dtype.ts'
export type { Shape } from './layout/shape.ts'
export type { Nested } from './layout/values.ts'
export type { MemoryStatistics } from './memory/bufferPool.ts'
export * from './ops/activation.ts'
export * from './ops/addAll.ts'
export * from './ops/algebraic.ts'
export * from './ops/attention.ts'
export { clamp } from './ops/clamp.ts'
export * from './ops/clone.ts'
export { eq, ge, gt, isFinite, isNaN, le, logicalAnd, logicalNot, logicalOr, lt, ne } from './ops/compare.ts'
export * from './ops/concat.ts'
export { arange, type CreateOptions, full, ones, rand, randn, zeros } from './ops/create.ts'
export * from './ops/crossEntropy.ts'
export * from './ops/cumsum.ts'
export { dropout } from './ops/dropout.ts'
export { einsum } from './ops/einsum.ts'
export * from './ops/elementwise.ts'
export * from './ops/embedding.ts'
export * from './ops/exponential.ts'
export { argmax, argmin, max, min } from './ops/extremum.ts'
export * from './ops/firstTokenAttention.ts'
export { flip } from './ops/flip.ts'
export type { KeepdimOptions } from './ops/fold.ts'
export { all, any, logsumexp, norm, prod } from './ops/foldOps.ts'
export { fromHost } from './ops/fromHost.ts'
export { gather, indexSelect } from './ops/gather.ts'
export { type GradOptions, grad } from './ops/grad.ts'
export * from './ops/layerNorm.ts'
export { lerp } from './ops/lerp.ts'
export { type LinearOptions, linear } from './ops/linear.ts'
export * from './ops/maskedFill.ts'
export * from './ops/matmul.ts'
export * from './ops/mlp.ts'
export * from './ops/oneHot.ts'
export type { Operand } from './ops/operands.ts'
export * from './ops/pairwise.ts'
export { pow } from './ops/pow.ts'
export { mean, sum } from './ops/reduce.ts'
export * from './ops/rmsNorm.ts'
export * from './ops/roll.ts'
export { cummax, cumprod } from './ops/scan.ts'
export { scatter } from './ops/scatter.ts'
export { scatterAdd } from './ops/scatterAdd.ts'
export { broadcastTo, permute, reshape, transpose } from './ops/shape.ts'
export { type SliceRange, slice } from './ops/slice.ts'
export * from './ops/softmax.ts'
export * from './ops/sort.ts'
export * from './ops/split.ts'
export * from './ops/squeeze.ts'
export * from './ops/tile.ts'
export { tril, triu } from './ops/triangle.ts'
export * from './ops/trigonometric.ts'
export { std, type VarianceOptions, variance } from './ops/variance.ts'
export * from './ops/where.ts'
export { files, listAdapters } from './platform/platform.ts'
export { describe } from './platform/select.ts'
export type { AdapterReport, AdapterSummary, Content, DeviceRequest, Files, FolderEntry, OpenFile } from './platform/types.ts'
export { type RunOptions, run } from './run.ts'
export { type ProfiledDispatch, Profiler } from './submit/profiler.ts'
export type { WorkCounts } from './submit/submissionQueue.ts'
export { type TensorOptions, tensor } from './tensor/fromValues.ts'
export { scope, withoutScope } from './tensor/scope.ts'
export { empty, type NestedValues, Tensor, type TensorData } from './tensor/tensor.ts'
export { chromeTrace, type TracedDevice, Tracing } from './trace/trace.ts'
