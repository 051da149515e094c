import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { collectGarbage, openDevice, texts } from '../../engine/platform/node.ts'
import { findSwiftShader } from '../../engine/platform/swiftshader.ts'

/** Roles of a process that `start` starts; the first word of its command line names one. */
const roles: Record<string, (adapter: string | undefined) => Promise<void>> = {
  async open(adapter) {
    const opened = await openDevice({ adapter })
    await compute(opened.device)
    const variables = [process.env.VK_DRIVER_FILES, process.env.VK_ICD_FILENAMES].map((value) => value ?? null)
    const { limits, features } = opened.device
    console.log(
      JSON.stringify({ ...opened.summary, variables, binding: limits.maxStorageBufferBindingSize, features: [...features] }),
    )
    opened.device.destroy()
  },
  /** Opens and destroys 30 devices. Prints the number of threads after 5 of them and after all. */
  async many(adapter) {
    const counts: number[] = []
    for (let i = 0; i < 30; i++) {
      const { device } = await openDevice({ adapter })
      await compute(device)
      device.destroy()
      await device.lost
      if (i === 4 || i === 29) {
        await new Promise((resolve) => setTimeout(resolve, 100))
        collectGarbage()
        await new Promise((resolve) => setTimeout(resolve, 100))
        counts.push(readdirSync('/proc/self/task').length)
      }
    }
    console.log(JSON.stringify(counts))
  },
  /** Prints whether the program's timers stay as they are while the device works, and whether they fire. */
  async timers(adapter) {
    const before = globalThis.setImmediate
    const { device } = await openDevice({ adapter })
    let seen = globalThis.setImmediate === before
    let handles = 0
    const watch = setInterval(() => {
      seen &&= globalThis.setImmediate === before
      clearImmediate(setImmediate(() => assert.unreachable('was cleared')))
      handles++
    }, 1)
    const waiting = compute(device)
    seen &&= globalThis.setImmediate === before
    await waiting
    const buffer = device.createBuffer({ size: 256, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
    await buffer.mapAsync(GPUMapMode.READ)
    await new Promise((resolve) => setTimeout(resolve, 50))
    clearInterval(watch)
    console.log(JSON.stringify({ seen, handles: handles > 0 }))
    device.destroy()
  },
  /** Ends while the device has a read-back and a compilation pending, and is no longer referenced. */
  async forget(adapter) {
    const { device } = await openDevice({ adapter })
    await compute(device)
    const buffer = device.createBuffer({ size: 256, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
    void buffer.mapAsync(GPUMapMode.READ)
    void device.createComputePipelineAsync(pipeline(device))
    void device.queue.onSubmittedWorkDone()
  },
  async fail(adapter) {
    await openDevice({ adapter })
    throw new Error('on purpose')
  },
  async unpack() {
    console.log(JSON.stringify(await findSwiftShader()))
  },
  /** Runs as a user that the system does not know, if this process may change its user. */
  async homeless() {
    delete process.env.HOME
    delete process.env.XDG_CACHE_HOME
    if (process.getuid?.() === 0) {
      process.setgroups!([])
      process.setuid!(12345)
    }
    await texts.write('tuning/homeless.json', 'kept')
    console.log(JSON.stringify([process.getuid!(), await texts.read('tuning/homeless.json'), await findSwiftShader()]))
  },
}

interface Ended {
  code: number | null
  signal: string | null
  stdout: string
  stderr: string
}

export const running = new Set<ChildProcess>()

/** Starts the current test file in a role, without the parent's environment variables that choose a device. */
export function start(role: string, adapter?: string, env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const { PARAFORMER_ADAPTER, VK_DRIVER_FILES, VK_ICD_FILENAMES, NODE_CHANNEL_FD, ...inherited } = process.env
  const args = ['--enable-source-maps', process.argv[1]!, role, ...(adapter ? [adapter] : [])]
  const child = spawn(process.execPath, args, { env: { ...inherited, ...env }, timeout: 60_000, killSignal: 'SIGKILL' })
  running.add(child)
  return new Promise((resolve) => {
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (text) => (stdout += text))
    child.stderr.on('data', (text) => (stderr += text))
    child.on('close', (code, signal) => {
      running.delete(child)
      resolve({ code, signal, stdout, stderr })
    })
  })
}

/** The JSON that a child printed. Fails unless the child ended with code 0. */
export function printed<T>(ended: Ended): T {
  assert.is(ended.code, 0, `code ${ended.code} ${ended.signal}: ${ended.stderr}`)
  return JSON.parse(ended.stdout.split('\n')[0]!) as T
}

function pipeline(device: GPUDevice): GPUComputePipelineDescriptor {
  const code = `@group(0) @binding(0) var<storage, read_write> out: array<u32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { out[id.x] = 3u * id.x; }`
  return { layout: 'auto', compute: { module: device.createShaderModule({ code }) } }
}

/** Multiplies 64 numbers on the device, reads them back and checks one. */
export async function compute(device: GPUDevice): Promise<void> {
  const compiled = await device.createComputePipelineAsync(pipeline(device))
  const out = device.createBuffer({ size: 256, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC })
  const staging = device.createBuffer({ size: 256, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  pass.setPipeline(compiled)
  const entries = [{ binding: 0, resource: { buffer: out } }]
  pass.setBindGroup(0, device.createBindGroup({ layout: compiled.getBindGroupLayout(0), entries }))
  pass.dispatchWorkgroups(1)
  pass.end()
  encoder.copyBufferToBuffer(out, 0, staging, 0, 256)
  device.queue.submit([encoder.finish()])
  await staging.mapAsync(GPUMapMode.READ)
  const values = new Uint32Array(staging.getMappedRange())
  if (values[63] !== 189) throw new Error(`computed ${values[63]}, expected 189`)
}

/** Runs a body `n` times, two at a time. @returns the results, in the order of their ends */
export async function eachOfTwo<T>(n: number, body: (i: number) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  let next = 0
  const worker = async () => {
    while (next < n) results.push(await body(next++))
  }
  await Promise.all([worker(), worker()])
  return results
}

/** Plays the role that this process was started in. @returns false for a process without a role, which runs the tests */
export async function playRole(): Promise<boolean> {
  const [role, adapter] = process.argv.slice(2)
  if (role) await roles[role]!(adapter)
  return role !== undefined
}
