// TensorFlow.js as one module. Core, gradients and WebGPU backend share their state only when they are bundled together.
export * from '@tensorflow/tfjs-core'

import '@tensorflow/tfjs-core/dist/register_all_gradients'
import '@tensorflow/tfjs-backend-webgpu'
