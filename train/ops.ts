// The package's second entry, `paraformer/ops`: the engine without methods on Tensor, for programs that bundle a few ops.
/// <reference lib="dom" preserve="true" />
/// <reference lib="esnext.disposable" preserve="true" />
export * from '../engine/functions.ts'
