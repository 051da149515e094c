import { existsSync } from 'node:fs'
import { compileSources } from '../../bench/isa/compile.ts'
import { factsOf } from '../../bench/isa/facts.ts'
import { type Judgement, judge } from '../../bench/isa/judge.ts'
import { MACHINES } from '../../bench/isa/machine.ts'
import { judgePeers, OURS } from '../../bench/isa/peers.ts'
import { openRadv, type Radv } from '../../bench/isa/radv.ts'
import { type KernelSource, kernelSources } from '../../bench/isa/source.ts'
import { reason } from '../../engine/index.ts'
import { expectUserError, runHere } from '../harness/cli.ts'
import { note, suite } from '../harness/suite.ts'

const { test, slow, run } = suite('paraformer bench isa')

/**
 * Limits of the code of a kernel for navi31: the most vector registers, the fewest waves a SIMD, the least multiply-adds an issue in the hot loop,
 * and the most vector and workgroup-memory instructions beside a matrix product.
 */
interface Limit {
  registers: number
  waves: number
  density?: number
  beside?: number
}

/**
 * Hot kernels by their labels. A change that needs more registers or leaves fewer waves is to be noticed here; one that is worth it changes the
 * limit.
 */
const LIMITS: Record<string, Limit> = {
  'matmul/tiled 1024x1024x1024 NN': { registers: 72, waves: 16, density: 0.8 },
  'matmul/tiledLarge 1024x1024x1024 NN': { registers: 108, waves: 14, density: 0.9 },
  'matmul/subgroupMatrixSmall 1024x1024x1024 NN f16 abc': { registers: 84, waves: 18, beside: 8 },
  'matmul/subgroupMatrixSmall 1024x1024x1024 TN f16 abc': { registers: 84, waves: 18, beside: 8 },
  'attention/tiled [4,4,256,256,64] packed normal': { registers: 132, waves: 10, density: 0.8 },
  'attention/tiled [64,4,65,65,32] packed normal': { registers: 96, waves: 10, density: 0.8 },
  'attention/subgroupMatrix [64,3,197,197,64] packed normal f16': { registers: 180, waves: 8, beside: 8 },
  'attentionQueryGradient/subgroupMatrix [64,3,197,197,64] packed normal f16': { registers: 168, waves: 8, beside: 8 },
  'attentionKeyValueGradient/subgroupMatrix [64,3,197,197,64] packed normal f16': { registers: 180, waves: 8, beside: 8 },
  'attentionQueryGradient/tiled [4,4,256,256,64] packed normal': { registers: 132, waves: 10, density: 0.8 },
  'attentionKeyValueGradient/tiled [4,4,256,256,64] packed normal': { registers: 168, waves: 8, density: 0.8 },
  'conv2d/tiled forward B32 16-16 28x28 k3x3 s1,1 p1,1 d1,1': { registers: 84, waves: 18 },
  'softmax/subgroup [1024, 1024]': { registers: 48, waves: 32 },
  'layerNorm/subgroup [1024, 512]': { registers: 48, waves: 32 },
  'layerNormBackward/subgroup [1024, 512] in 32': { registers: 60, waves: 22 },
  'adamW/interleaved 7.3 M parameters': { registers: 36, waves: 32 },
  'augment/direct 224 pixels, RandAugment 2': { registers: 60, waves: 24 },
}

/** RADV, or the reason why there is none on this machine. */
const available = await openRadv('navi31').catch((error: unknown) => reason(error))
if (typeof available === 'string') note(`machine code of GPUs was not looked at: ${available}`)
else await available.close()

/** Compiles kernels for a family. */
async function judgeKernels(family: string, wanted: (source: KernelSource) => boolean): Promise<Judgement<KernelSource>[]> {
  const machine = MACHINES.find((each) => each.family === family)!
  return withRadv(family, async (radv) => {
    const { compiled } = await compileSources(radv, (capabilities) => kernelSources(capabilities).filter(wanted))
    return compiled.map((each) => judge(each, machine))
  })
}

async function withRadv<T>(family: string, use: (radv: Radv) => Promise<T>): Promise<T> {
  const radv = await openRadv(family)
  try {
    return await use(radv)
  } finally {
    await radv.close()
  }
}

/** Fails for kernels that do not compile, spill registers or have scratch memory. */
function checkSpills(judgements: readonly Judgement<KernelSource>[]): void {
  const failed = judgements.filter(({ error }) => error !== undefined).map(({ source, error }) => `${source.label}: ${error}`)
  const [spills] = factsOf(judgements)
  if (failed.length > 0 || !spills?.holds) throw new Error([...failed, spills?.says, ...(spills?.except ?? [])].join('; '))
}

test('without a compiler or a driver one line says what to install', async () => {
  const { CC } = process.env
  process.env.CC = '/nowhere/cc'
  try {
    await expectUserError(['bench', 'isa'], /needs RADV.*setup --lavapipe|needs a C compiler.*apt-get install gcc/)
  } finally {
    if (CC === undefined) delete process.env.CC
    else process.env.CC = CC
  }
})

test('--help names every flag and says that nothing is executed', async () => {
  const { stdout } = await runHere(['bench', 'isa', '--help'])
  const flags = ['family', 'filter', 'variant', 'chosen', 'peers', 'asm', 'json'].filter(
    (flag) => !stdout.includes(`--${flag}`),
  )
  if (flags.length > 0 || !stdout.includes('Nothing is executed')) throw new Error(`no --${flags.join(', --')} in ${stdout}`)
})

if (typeof available !== 'string') {
  test('hot kernels keep within their limits on navi31, and spill nothing', async () => {
    const judgements = await judgeKernels('navi31', ({ label }) => label in LIMITS)
    const missing = Object.keys(LIMITS).filter((label) => !judgements.some(({ source }) => source.label === label))
    if (missing.length > 0) throw new Error(`no such shader: ${missing.join(', ')}`)
    checkSpills(judgements)
    const wrong = judgements.flatMap(({ source, listing, hot, estimate }) => {
      const { registers, waves, density = 0, beside = Number.POSITIVE_INFINITY } = LIMITS[source.label]!
      const found = [
        ...(listing!.registers > registers ? [`${listing!.registers} registers, at most ${registers}`] : []),
        ...(listing!.waves < waves ? [`${listing!.waves} waves, at least ${waves}`] : []),
        ...((hot?.density ?? 0) < density - 0.005 ? [`${hot?.density} multiply-adds an issue, at least ${density}`] : []),
        ...((hot?.besideMatrix ?? 0) > beside ? [`${hot?.besideMatrix} beside a matrix product, at most ${beside}`] : []),
        ...(estimate!.microseconds > 0 && Number.isFinite(estimate!.microseconds) ? [] : ['no estimate']),
      ]
      return found.map((what) => `${source.label}: ${what}`)
    })
    if (wrong.length > 0) throw new Error(wrong.join('; '))
  })

  test('a filter or a variant that leaves nothing is refused', async () => {
    await expectUserError(['bench', 'isa', '--filter', 'nothing at all'], /leave no shader to compile/)
    await expectUserError(
      ['bench', 'isa', '--variant', 'nothing'],
      /no kernel has a variant "nothing" on this GPU; there are .*tiled/,
    )
  })

  test('--json of one kernel says that nothing was executed', async () => {
    const { code, stdout, stderr } = await runHere([
      'bench',
      'isa',
      '--filter',
      '^softmax/subgroup',
      '--json',
      '--family',
      'navi21',
    ])
    if (code !== 0) throw new Error(stderr)
    const report = JSON.parse(stdout)
    const [shader] = report.shaders
    if (report.executed !== false || report.machine.family !== 'navi21' || report.shaders.length !== 1) throw new Error(stdout)
    if (!(shader.registers > 0 && shader.waves > 0 && shader.estimate.microseconds > 0)) throw new Error(JSON.stringify(shader))
  })

  for (const { family } of MACHINES) {
    slow(`no kernel that ${family} would get spills registers or has scratch memory`, async () => {
      const judgements = await judgeKernels(family, ({ chosen }) => chosen)
      if (judgements.length < 100) throw new Error(`only ${judgements.length} kernels are chosen`)
      checkSpills(judgements)
    })
  }

  if (existsSync('bench/peers/node_modules')) {
    slow("the peers' code is captured and compiled", async () => {
      const runs = await withRadv('navi31', (radv) =>
        judgePeers(radv, MACHINES[0]!, (name) => /^softmax|^matmul 256/.test(name)),
      )
      const failed = runs.filter(({ microseconds }) => !(microseconds! > 0))
      if (failed.length > 0 || runs.length !== 8)
        throw new Error(JSON.stringify(failed.map(({ library, shape, reason: why }) => [library, shape, why])))
      if (runs.filter(({ library }) => library === OURS).length !== 2) throw new Error('ours is missing')
    })
  } else note('the machine code of other libraries was not looked at: npm run bench:peers installs them')
}

run()
