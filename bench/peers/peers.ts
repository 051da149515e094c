import { openJax } from './jax.ts'
import { openOrt } from './ort.ts'
import type { OpenPeer } from './peer.ts'
import { openTfjs } from './tfjs.ts'

/** The libraries to compare with, by package name. */
export const PEERS: Record<string, OpenPeer> = {
  '@jax-js/jax': openJax,
  '@tensorflow/tfjs-backend-webgpu': openTfjs,
  'onnxruntime-web': openOrt,
}
