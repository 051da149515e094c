import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { UserError } from '../../engine/index.ts'
import type { Capabilities } from '../../kernels/spec.ts'
import { regularExpression } from '../select.ts'
import { type Compiled, compileSources } from './compile.ts'
import type { IsaFlags } from './flags.ts'
import { judge } from './judge.ts'
import { MACHINES } from './machine.ts'
import { checkPeers, judgePeers } from './peers.ts'
import { openRadv } from './radv.ts'
import { isaReport, reportJson, reportText } from './report.ts'
import { type KernelSource, kernelSources, type Source } from './source.ts'

/**
 * Runs `paraformer bench isa`.
 * @throws UserError where RADV, a C compiler or the peers' programs are missing, and for a filter or variant that leaves nothing
 */
export async function benchIsa(flags: IsaFlags): Promise<void> {
  const machine = MACHINES.find(({ family }) => family === flags.family)!
  const pattern = regularExpression(flags.filter ?? '')
  if (flags.peers) checkPeers()
  const radv = await openRadv(machine.family)
  try {
    const found = (capabilities: Capabilities) => select(kernelSources(capabilities), flags, pattern)
    const { device, driver, compiled } = await compileSources(radv, found)
    const peers = flags.peers ? await judgePeers(radv, machine, (name) => pattern.test(name)) : []
    if (compiled.length + peers.length === 0) throw new UserError('these flags leave no shader to compile')
    if (flags.asm !== undefined) await writeCode(flags.asm, [...compiled, ...peers.flatMap(({ texts }) => texts)])
    const judgements = compiled.map((each) => judge(each, machine))
    const report = isaReport(machine, `${device} (${driver})`, judgements, peers)
    console.log(flags.json ? reportJson(report) : reportText(report))
    if (judgements.some(({ error }) => error !== undefined)) process.exitCode = 1
  } finally {
    await radv.close()
  }
}

/** Returns the sources that the flags ask for. */
function select(sources: readonly KernelSource[], { variant, chosen = false }: IsaFlags, pattern: RegExp): KernelSource[] {
  if (variant !== undefined && !sources.some((source) => source.variant === variant)) {
    const known = [...new Set(sources.map((source) => source.variant))].sort()
    throw new UserError(`no kernel has a variant "${variant}" on this GPU; there are ${known.join(', ')}`)
  }
  const wanted = (source: KernelSource) => (variant === undefined || source.variant === variant) && (!chosen || source.chosen)
  return sources.filter((source) => pattern.test(source.label) && wanted(source))
}

/** Writes the text of each shader to a file. */
async function writeCode(folder: string, compiled: readonly Compiled<Source>[]): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const { source, text } of compiled) {
    await writeFile(join(folder, `${source.label.replace(/[^\w.-]+/g, '_')}.s`), text)
  }
}
