// The package's types for TypeScript before 6, whose own library has no WebGPU.
/// <reference types="@webgpu/types" preserve="true" />
export * from './index.ts'
