// What another machine answers: values of a wrong kind or shape count as the loss of the device, and parts of a large message as signs of life.
import * as assert from 'uvu/assert'
import { DeviceLostError } from '../../engine/index.ts'
import { checkConfig, countParameters, type ParaFormerConfig } from '../../model/index.ts'
import type { ForwardRequest } from '../../train/devices/branchWorker.ts'
import { RemoteBranchWorker } from '../../train/devices/remoteBranchWorker.ts'
import { RemoteReplica } from '../../train/devices/remoteReplica.ts'
import type { Connect } from '../../train/devices/remoteWorker.ts'
import { checkRequest } from '../../train/fleet/branches/checkRequest.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('what another machine answers')

const SIZES = { imageSize: 12, patchSize: 4, channels: 1, dim: 24, heads: 2, dimHead: 12, mlpDim: 40, classes: 5 }
const config = checkConfig({ ...SIZES, architecture: 'paraformer', branches: 3, branchDepth: 1 }) as ParaFormerConfig
const vit = checkConfig({ ...SIZES, architecture: 'vit', depth: 1 })
const entries = (length: number) => new Map([['a', { dtype: 'F32' as const, shape: [length], data: new Float32Array(length) }]])
const shared = { index: 1, request: {}, precision: 'float32' as never, recomputes: false, coalesces: undefined }
const branches = {
  ...{ ...shared, config, own: [1, 2], stem: entries(10), adamW: {}, how: {} },
  branches: { parameters: entries(7), m: new Map(), v: new Map(), steps: {} },
}
const replica = {
  ...shared,
  config: vit,
  parameters: entries(30),
  scheme: 'joint' as const,
  mode: 'serial' as const,
  eager: false,
}

/** A process that answers each method with a given value, and everything else with nothing. */
function answering(values: Record<string, unknown>): Connect {
  return (onMessage) => ({
    name: 'worker x',
    ended: new Promise<string>(() => {}),
    send(message) {
      const { id, method } = message as { id: number; method?: string }
      queueMicrotask(() => onMessage({ id, value: method && values[method] }))
    },
    async end() {},
    kill() {},
  })
}

const forward: ForwardRequest = {
  ...{ images: 0, branches: 2, training: true, differentiate: true, lossScale: 1, random: { seed: 1, counter: 0 } },
  eachBranch: false,
}

async function isLost(call: Promise<unknown>, method: string): Promise<void> {
  const error = await call.catch((error: unknown) => error)
  assert.instance(error, DeviceLostError, String(error))
  assert.match(String(error), `answers ${method} with a value of a wrong kind or shape`)
}

test('rows of a wrong length or kind end the worker, right ones do not', async () => {
  for (const [eachBranch, rows] of [
    [false, 1],
    [true, 1],
  ] as const)
    for (const [value, right] of [
      [new Float32Array(4 * 24 * rows), true],
      [new Float32Array(4 * 24 * rows - 1), false],
      [new Int32Array(4 * 24 * rows), false],
      [undefined, false],
      [{ length: 4 * 24 * rows }, false],
    ] as const) {
      const worker = await RemoteBranchWorker.open(branches, { connect: answering({ forward: value }) })
      await worker.load(0, new Float32Array(4 * 144), 4)
      // Of branches 1 and 2, the second lives there.
      const call = worker.forward({ ...forward, eachBranch })
      if (right) assert.is(await call, value)
      else {
        await isLost(call, 'forward')
        await isLost(worker.lost, 'forward')
        await isLost(worker.state(), 'forward')
      }
      await worker.close()
    }
})

test('a state that does not fit never gets into a checkpoint', async () => {
  const right = { parameters: entries(7), m: new Map(), v: new Map(), steps: {} }
  const other = new Map([['b', entries(7).get('a')!]])
  const wrong = [
    { parameters: entries(6) },
    { parameters: new Map() },
    { parameters: other },
    { m: entries(6) },
    { v: undefined },
  ]
  for (const more of [{}, { m: entries(7) }, ...wrong]) {
    const state = { ...right, ...more }
    const worker = await RemoteBranchWorker.open(branches, { connect: answering({ state, gradients: state.parameters }) })
    if ((wrong as object[]).includes(more)) await isLost(worker.state(), 'state')
    else {
      assert.is(await worker.state(), state)
      assert.is(await worker.gradients(), state.parameters)
    }
    await worker.close()
  }
})

test('so do gradients of the stem, and of a replica', async () => {
  for (const stemGradient of [{ stem: new Float32Array(9), square: 1 }, { stem: new Float32Array(64), square: '1' }, 7]) {
    const worker = await RemoteBranchWorker.open(branches, { connect: answering({ stemGradient }) })
    await isLost(worker.stemGradient(), 'stemGradient')
    await worker.close()
  }
  const right = { gradient: new Float32Array(30), losses: new Float32Array(1), predicted: [new Int32Array(4)] }
  const request = { parts: [{ id: 0, share: 1, counter: 0 }], seed: 1, lossScale: 1 }
  const wrong = [
    { gradient: new Float32Array(29) },
    { gradient: [1] },
    { losses: 3 },
    { predicted: [] },
    { predicted: [new Int32Array(3)] },
  ]
  for (const more of [{}, ...wrong]) {
    const worker = await RemoteReplica.open(replica, { connect: answering({ gradient: { ...right, ...more } }) })
    await worker.load(0, new Float32Array(4 * 144), new Int32Array(4))
    if (Object.keys(more).length === 0) assert.equal(await worker.gradient(request), right)
    else await isLost(worker.gradient(request), 'gradient')
    await worker.close()
  }
})

test('parts of a large message are signs of life, silence is none', async () => {
  let heard: () => void = () => {}
  const quiet: Connect = (onMessage, onPart) => {
    heard = onPart
    return {
      name: 'worker x',
      ended: new Promise<string>(() => {}),
      send(message) {
        if (typeof message === 'object' && message !== null && 'replica' in message)
          queueMicrotask(() => onMessage({ id: (message as { id?: number }).id, value: undefined }))
      },
      async end() {},
      kill() {},
    }
  }
  const worker = await RemoteReplica.open(replica, { connect: quiet, pulse: { every: 20, missed: 5 } })
  let lost = false
  worker.lost.catch(() => {
    lost = true
  })
  const signs = setInterval(() => heard(), 10)
  await new Promise((resolve) => setTimeout(resolve, 400))
  assert.not(lost)
  clearInterval(signs)
  // The timer of the pulse does not keep the process alive.
  const alive = setInterval(() => {}, 1000)
  const error = await worker.lost.catch((error: unknown) => error)
  clearInterval(alive)
  assert.match(String(error), /does not answer any more; its replica is gone/)
  await worker.close()
})

test('a session for a replica takes the methods of a replica alone, with whole arguments', () => {
  const { total } = countParameters(vit)
  const open = (more: object = {}) => ({ id: 0, replica: { ...replica, parameters: entries(total), ...more } })
  assert.ok('replica' in checkRequest(open(), undefined))
  const part = { id: 0, share: 0.5, counter: 3 }
  const gradient = (more: object) => ({ id: 1, method: 'gradient', args: [{ parts: [part], seed: 1, lossScale: 1, ...more }] })
  checkRequest(gradient({}), 'replica')
  const wrong: [unknown, 'replica' | undefined][] = [
    [open({ parameters: entries(total - 1) }), undefined],
    [open({ scheme: 'paper' }), undefined],
    [open({ scheme: 'constructor' }), undefined],
    [open({ config: { ...vit, dim: 0 } }), undefined],
    [open(), 'replica'],
    [{ id: 1, method: 'forward', args: [forward] }, 'replica'],
    [{ id: 1, method: 'load', args: [0, new Float32Array(144), 1] }, 'replica'],
    [{ id: 1, method: 'update', args: [[1]] }, 'replica'],
    [gradient({ parts: [] }), 'replica'],
    [gradient({ parts: [{ ...part, counter: -1 }] }), 'replica'],
    [gradient({ seed: 0.5 }), 'replica'],
  ]
  for (const [message, kind] of wrong) assert.throws(() => checkRequest(message, kind), undefined, JSON.stringify(message))
})

run()
