// The types of `paraformer/ops` for TypeScript before version 6, whose own library lacks WebGPU.
/// <reference types="@webgpu/types" preserve="true" />
export * from './ops.ts'
