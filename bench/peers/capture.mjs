// `node bench/peers/capture.mjs FOLDER` writes the shaders that ours and each peer dispatch for a few workloads to FOLDER/<package>.json, a process each.
// `paraformer bench isa --peers` starts it with the variables of a driver that executes nothing.
import { spawnSync } from 'node:child_process'
import { buildPeers, outdir } from './build.mjs'

const [folder] = process.argv.slice(2)
if (folder === undefined) {
  console.error('usage: node bench/peers/capture.mjs FOLDER')
  process.exit(2)
}
await buildPeers()
for (const name of ['paraformer', '@jax-js/jax', '@tensorflow/tfjs-backend-webgpu', 'onnxruntime-web']) {
  // V8 would take minutes to optimize the 27 MB of WebAssembly of onnxruntime-web.
  const { status, signal } = spawnSync(
    process.execPath,
    ['--enable-source-maps', '--liftoff-only', `${outdir}/capture.js`, name, folder],
    { stdio: ['ignore', 2, 2], timeout: 300_000, killSignal: 'SIGKILL' },
  )
  if (signal || status !== 0) console.error(`${name}: its process ended with ${signal ?? `code ${status}`}`)
}
