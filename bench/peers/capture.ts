// `node capture.js PACKAGE FOLDER`: writes what ours or a peer dispatches for each workload of `capturedWorkloads`. Values are not looked at, for the
// device may be one that executes nothing.
import { mkdir, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { type Device, reason } from '../../engine/index.ts'
import { systemNames } from '../../engine/platform/dawn.ts'
import { openShared } from '../openShared.ts'
import { operandsOf } from '../operands.ts'
import { prepareOurs } from '../ours.ts'
import { disposeAll } from '../outputs.ts'
import { shapeOf, standardWorkloads, type Workload } from '../workloads.ts'
import type { Captured } from './captured.ts'
import { watchDispatches } from './dispatches.ts'
import type { Peer } from './peer.ts'
import { PEERS } from './peers.ts'

/** The kinds of workloads whose shaders are captured. */
const KINDS: readonly Workload['kind'][] = ['matmul', 'attention', 'softmax', 'layerNorm']

const [name, folder] = process.argv.slice(2) as [string, string]

/** Makes a workload ready. @returns a function that runs it once and waits until all is submitted */
type Prepare = (w: Workload) => Promise<() => Promise<unknown>>

function prepareOurRun(device: Device): Prepare {
  return async (w) => {
    const { record } = prepareOurs(device, w, operandsOf(w))
    return async () => {
      const outputs = record()
      await device.synchronize()
      disposeAll(outputs)
    }
  }
}

function preparePeerRun(peer: Peer): Prepare {
  return async (w) => {
    const run = await peer.prepare(w, operandsOf(w))
    return async () => {
      await run.run()
      await run.done()
    }
  }
}

// Dawn's prototypes are there once it is loaded, and must be watched before a device makes its buffers.
await systemNames()
const taken = watchDispatches()
const device = await openShared({})
const prepare = name === 'paraformer' ? prepareOurRun(device) : preparePeerRun(await PEERS[name]!())
const captured: Captured[] = []
for (const workload of standardWorkloads(false).filter(({ kind }) => KINDS.includes(kind))) {
  const about = { workload, shape: shapeOf(workload) }
  try {
    const run = await prepare(workload)
    // The first run compiles; some libraries prepare operands in it.
    await run()
    taken()
    await run()
    captured.push({ ...about, dispatches: taken() })
  } catch (error) {
    captured.push({ ...about, dispatches: [], reason: reason(error) })
  }
}
await mkdir(folder, { recursive: true })
await writeFile(join(folder, `${basename(name)}.json`), JSON.stringify(captured))
// The libraries' devices would keep the process alive, and Dawn cannot take a device without hardware down.
;(process as unknown as { reallyExit(code: number): void }).reallyExit(0)
