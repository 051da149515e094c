import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join, normalize } from 'node:path'
import { build } from 'esbuild'
import { type Browser, chromium, type Page } from 'playwright-core'
import { UserError } from '../../engine/index.ts'

/** Places of Chromium to try. */
const PROGRAMS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/opt/google/chrome/chrome']
const FLAGS = ['--enable-unsafe-webgpu', '--disable-background-networking', '--disable-component-update', '--no-first-run']
const OUT = '.build/bench-browser'
const PEERS = 'bench/peers/node_modules'

/** The import map of the page: the peers' packages by name. */
const IMPORTS = {
  '@jax-js/jax': `/${PEERS}/@jax-js/jax/dist/index.js`,
  'onnxruntime-web/webgpu': `/${PEERS}/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs`,
}

/** Content types by the extension of a file's name. */
const TYPES: Record<string, string> = { '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm' }

/** Headless Chromium, and a server of the bench's page that only this machine can reach. */
export class Chromium {
  readonly version: string
  readonly #browser: Browser
  readonly #server: Server

  private constructor(browser: Browser, server: Server) {
    this.#browser = browser
    this.#server = server
    this.version = browser.version()
  }

  /** Bundles the page, and starts the server and the browser. @throws UserError when there is no Chromium */
  static async start(): Promise<Chromium> {
    const program = process.env.CHROMIUM ?? PROGRAMS.find((path) => existsSync(path))
    if (!program || !existsSync(program)) {
      throw new UserError('there is no Chromium; install it (Debian: apt-get install chromium) or name its program in CHROMIUM')
    }
    await bundlePage()
    const server = await serve()
    try {
      return new Chromium(await chromium.launch({ executablePath: program, args: FLAGS }), server)
    } catch (error) {
      server.close()
      throw error
    }
  }

  /** Opens a page in which `call` can call functions of page.ts. @param onReport gets what the page passes to `report` */
  async open(onReport: (what: unknown) => void): Promise<Page> {
    const page = await this.#browser.newPage()
    await page.exposeFunction('report', onReport)
    await page.goto(`http://localhost:${(this.#server.address() as AddressInfo).port}/`)
    return page
  }

  async close(): Promise<void> {
    await this.#browser.close()
    this.#server.close()
  }
}

/** Calls an exported function of page.ts in a page. */
export async function call<T>(page: Page, name: string, ...args: unknown[]): Promise<T> {
  const calling = async ([url, called, values]: readonly [string, string, unknown[]]) => (await import(url))[called](...values)
  return page.evaluate(calling, ['/page.js', name, args] as const)
}

async function bundlePage(): Promise<void> {
  const common = { bundle: true, platform: 'browser', format: 'esm', target: 'es2022', logLevel: 'warning' } as const
  const external = Object.keys(IMPORTS)
  await build({ ...common, entryPoints: ['bench/browser/page.ts'], outdir: OUT, external, loader: { '.wgsl': 'text' } })
  if (!existsSync(PEERS)) return
  await build({ ...common, entryPoints: ['bench/peers/tensorflow.js'], outdir: OUT, logLevel: 'error' })
}

/** Serves the page, its bundle and the peers. The headers isolate the page, so that WebAssembly can use shared memory. */
function serve(): Promise<Server> {
  const html = `<!doctype html><title>bench</title><script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>`
  const server = createServer(async (request, response) => {
    response.setHeader('cross-origin-opener-policy', 'same-origin')
    response.setHeader('cross-origin-embedder-policy', 'require-corp')
    const path = normalize(decodeURIComponent(new URL(request.url!, 'http://localhost').pathname)).replace(/^[/\\]+/, '')
    if (path === '') return response.setHeader('content-type', 'text/html').end(html)
    const file = path.startsWith(PEERS) ? path : join(OUT, path)
    const bytes = await readFile(file).catch(() => undefined)
    if (!bytes) return response.writeHead(404).end()
    response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream').end(bytes)
  })
  return new Promise((resolve) => server.listen(0, 'localhost', () => resolve(server)))
}
