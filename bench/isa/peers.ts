import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { UserError } from '../../engine/index.ts'
import type { Captured } from '../peers/captured.ts'
import { costOf, type Workload } from '../workloads.ts'
import { type Compiled, compileSources } from './compile.ts'
import { type Judgement, judge } from './judge.ts'
import type { Machine } from './machine.ts'
import type { Radv } from './radv.ts'
import type { Source } from './source.ts'
import { workgroupSize } from './workgroup.ts'

/** The name of our library in tables. */
export const OURS = 'ours'
/** Our library and the peers by the names of the files that the capture writes, with names for tables. */
const LIBRARIES = {
  paraformer: OURS,
  jax: 'jax-js',
  'tfjs-backend-webgpu': 'TensorFlow.js',
  'onnxruntime-web': 'onnxruntime-web',
} as const

/** The program that captures what libraries dispatch. */
const CAPTURE = 'bench/peers/capture.mjs'

/** A shader that a library dispatches. */
interface PeerSource extends Source {
  library: string
  workload: Workload
  shape: string
}

/** The dispatches of a library for a workload. */
export interface LibraryRun {
  library: string
  workload: Workload['kind']
  shape: string
  dispatches: Judgement<Source>[]
  /** The driver's texts on the dispatches. */
  texts: Compiled<Source>[]
  /** Estimated microseconds of all dispatches, one after the other; undefined where there are none. */
  microseconds: number | undefined
  /** The reason why there is nothing. */
  reason: string | undefined
}

/** @throws UserError outside of a clone, which alone has the programs that run the peers */
export function checkPeers(): void {
  if (!existsSync(CAPTURE))
    throw new UserError(`--peers needs a clone of the project, in whose root it is run: there is no ${CAPTURE}`)
}

/**
 * Captures what ours and the peers dispatch on the GPU of `radv`, compiles it and estimates its time.
 * @param filter takes a workload's name such as `matmul 1024x1024x1024 NN`
 */
export async function judgePeers(radv: Radv, machine: Machine, filter: (name: string) => boolean): Promise<LibraryRun[]> {
  const folder = join(radv.folder, 'captured')
  await capture(folder, radv.environment)
  const runs: (LibraryRun & { sources: PeerSource[] })[] = []
  for (const [file, library] of Object.entries(LIBRARIES)) {
    for (const { workload, shape, dispatches, reason } of await readCaptured(join(folder, `${file}.json`))) {
      if (!filter(`${workload.kind} ${shape}`)) continue
      const sources = dispatches.map(({ code, entryPoint, constants, grid: [x, y, z], bytes, uniforms }, i): PeerSource => {
        const size = workgroupSize(code, entryPoint, constants) ?? [64, 1, 1]
        const most = dispatches.length === 1 ? costOf(workload).bytes : Number.POSITIVE_INFINITY
        return {
          label: `${library} ${workload.kind} ${shape} ${i + 1}`,
          library,
          workload,
          shape,
          code,
          entryPoint,
          constants,
          uniforms,
          work: {
            workgroups: x * y * z,
            invocations: size[0] * size[1] * size[2],
            flops: 0,
            // Buffers may be larger than what is in them.
            bytes: Math.min(bytes, most),
          },
        }
      })
      runs.push({
        library,
        workload: workload.kind,
        shape,
        sources,
        dispatches: [],
        texts: [],
        microseconds: undefined,
        reason,
      })
    }
  }
  const all = runs.flatMap(({ sources }) => sources)
  const { compiled } = await compileSources(radv, () => all)
  const bySource = new Map(compiled.map((each) => [each.source, each]))
  return runs.map(({ sources, ...run }) => {
    const texts = sources.map((source) => bySource.get(source)!)
    const first = texts.map((each) => judge(each, machine))
    const products = productsOf(run.workload, first)
    const dispatches = texts.map((each, i) => {
      if (!products.has(i)) return first[i]!
      const flops = costOf(each.source.workload).flops / products.size
      return judge({ ...each, source: { ...each.source, work: { ...each.source.work, flops } } }, machine)
    })
    const failed = dispatches.find(({ error }) => error !== undefined)?.error
    const known = dispatches.length > 0 && failed === undefined
    const microseconds = known ? dispatches.reduce((sum, { estimate }) => sum + estimate!.microseconds, 0) : undefined
    return { ...run, dispatches, texts, microseconds, reason: run.reason ?? failed }
  })
}

/**
 * Returns the numbers of the dispatches that share a workload's multiply-adds: those with a loop of them, or else the one with most.
 */
function productsOf(kind: Workload['kind'], judgements: readonly Judgement<Source>[]): Set<number> {
  if (kind !== 'matmul' && kind !== 'attention') return new Set()
  const found = judgements.flatMap(({ hot }, i) => (hot?.multiplies ? [i] : []))
  return new Set(found)
}

/** Runs the program that captures, with the variables of RADV, which prints no code meanwhile. */
function capture(folder: string, environment: Record<string, string>): Promise<void> {
  const { PARAFORMER_ADAPTER, ...inherited } = process.env
  const env = { ...inherited, ...environment, RADV_DEBUG: '' }
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CAPTURE, folder], { env, stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.on('data', (text) => {
      said = `${said}${text}`.slice(-4000)
    })
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`${CAPTURE} failed: ${said.trim()}`))))
  })
}

async function readCaptured(path: string): Promise<Captured[]> {
  return existsSync(path) ? (JSON.parse(await readFile(path, 'utf8')) as Captured[]) : []
}
