import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Command, Option } from 'commander'
import sirv from 'sirv'
import { UserError } from '../../engine/index.ts'
import { Interrupt } from './interrupt.ts'
import { count, makeCommand } from './options.ts'
import { say } from './printable.ts'

/** The page as a static folder, which the build puts beside the folder of this code. */
const PAGE = fileURLToPath(new URL('../web', import.meta.url))
const PORT = 8080
const MAX_PORT = 65535

/** Headers that every file of the page is sent with; the policy of scripts stands in the page itself. */
const HEADERS = {
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cache-Control': 'no-cache',
  // A page cannot say by itself who may frame it.
  'Content-Security-Policy': "frame-ancestors 'none'",
}

const PLAIN = { ...HEADERS, 'Content-Type': 'text/plain; charset=utf-8' }

/** Makes the command `paraformer web`. */
export function webCommand(): Command {
  return makeCommand('web')
    .description('serve the page that trains and answers in a browser, until Ctrl-C')
    .addOption(new Option('--port <n>', 'port; 0 takes a free one').argParser(count(MAX_PORT, 0)).default(PORT))
    .option('--host <name>', 'address to listen at; browsers give WebGPU to localhost and to https alone', 'localhost')
    .action(async ({ port, host }: { port: number; host: string }) => serve(port, host))
}

/** Serves the page until it is interrupted. @throws UserError when the page was not built or the port is taken */
async function serve(port: number, host: string): Promise<void> {
  if (!existsSync(join(PAGE, 'index.html')))
    throw new UserError(`${PAGE}: holds no page; in a clone run npm run build, else install the package anew`)
  const files = sirv(PAGE, {
    etag: true,
    setHeaders(response) {
      for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value)
    },
  })
  const server = createServer((request, response) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { ...PLAIN, Allow: 'GET, HEAD' }).end('only GET and HEAD\n')
      return
    }
    files(request, response, () => {
      response.writeHead(404, PLAIN).end('not found\n')
    })
  })
  const interrupt = new Interrupt()
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, port, host)))
      server.listen(port, host, resolve)
    })
    const { port: taken } = server.address() as { port: number }
    console.log(`http://${host.includes(':') ? `[${host}]` : host}:${taken}/`)
    say('serving until Ctrl-C')
    interrupt.says = 'ending'
    await new Promise<void>((resolve) => interrupt.onAsked(resolve))
    interrupt.end()
  } finally {
    server.closeAllConnections()
    server.close()
    interrupt.close()
  }
}

function listenError({ code, message }: NodeJS.ErrnoException, port: number, host: string): UserError {
  if (code === 'EADDRINUSE') return new UserError(`port ${port} is taken; name another with --port, or 0 for a free one`)
  return new UserError(`cannot listen at ${host}, port ${port} (${code ?? message}); name another --host or --port`)
}
