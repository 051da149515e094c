import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { UserError } from '../../engine/index.ts'
import { connectFleet } from '../fleet/connect.ts'
import { credentialsOf, type Role, startServer, writeServerFolder } from '../fleet/server.ts'
import { FleetStore } from '../fleet/store.ts'
import { Interrupt } from './interrupt.ts'
import { count, makeCommand } from './options.ts'
import { printable, say } from './printable.ts'

const PORT = 4222
const MAX_PORT = 65535
const MAX_WORKERS = 64

interface UpFlags {
  folder: string
  host: string
  port: number
  webPort?: number
  workers: number
  study: string[]
  tlsCert?: string
  tlsKey?: string
}

/** Makes the command `paraformer fleet up`. */
export function fleetUpCommand(): Command {
  return makeCommand('up', 'fleet up ')
    .description('start a server, and workers beside it, on this machine until Ctrl-C')
    .option('--folder <path>', 'folder of configuration, credentials and data', join('runs', 'fleet', 'server'))
    .option('--host <name>', 'address to listen at; with another one than localhost, give --tls-cert too', '127.0.0.1')
    .addOption(new Option('--port <n>', 'port').argParser(count(MAX_PORT)).default(PORT))
    .addOption(new Option('--web-port <n>', 'port for workers in browsers').argParser(count(MAX_PORT)))
    .addOption(new Option('--workers <n>', 'workers to start').argParser(count(MAX_WORKERS, 0)).default(2))
    .option(
      '--study <file>',
      'a study file of your own that the workers may run; may be given again',
      (file, before: string[] = []) => [...before, file],
      [],
    )
    .option('--tls-cert <file>', 'certificate of the server, for tls://')
    .option('--tls-key <file>', 'its key')
    .action(up)
}

async function up({ folder, host, port, webPort, workers, study, tlsCert, tlsKey }: UpFlags): Promise<void> {
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw new UserError('--tls-cert and --tls-key belong together; give both')
  for (const path of [tlsCert, tlsKey])
    if (path !== undefined && !existsSync(path)) throw new UserError(`${path}: no such file`)
  const names = Array.from({ length: Math.max(workers, 4) }, (_, i) => `worker-${i + 1}`)
  const roles: Role[] = [
    { name: 'coordinator' },
    ...names.map((name) => ({ name, class: 'cpu' as const })),
    { name: 'browser-1', class: 'browser' },
  ]
  const tls = tlsCert === undefined ? undefined : { cert: tlsCert, key: tlsKey! }
  const config = await writeServerFolder({ folder, host, port, webSocketPort: webPort, tls, roles })
  const url = `${tls ? 'tls' : 'nats'}://${host}:${port}`
  const interrupt = new Interrupt()
  const server = await startServer(config, join(folder, 'server.log'), { host, port })
  try {
    const address = { url, auth: credentialsOf(folder, 'coordinator'), ca: tlsCert }
    const store = await FleetStore.open(await connectFleet(address, 'coordinator', say), true)
    await store.close()
    console.log(url)
    say(`give it work:  paraformer study run schemes --fleet ${url} --auth ${printable(address.auth)}`)
    say(`look at it:    paraformer fleet status --fleet ${url} --auth ${printable(address.auth)}`)
    say(`credentials of ${names.length} workers, and of one in a browser, are in ${printable(folder)}; ending with Ctrl-C`)
    const running = names.slice(0, workers).map((name) => startWorker(url, folder, name, study))
    const ended = await Promise.race([
      server.ended,
      new Promise<undefined>((resolve) => interrupt.onAsked(() => resolve(undefined))),
    ])
    for (const { stop } of running) stop()
    await Promise.all(running.map((worker) => worker.ended))
    if (ended !== undefined) throw new UserError(`nats-server ${ended}; ${folder}/server.log says why`)
    interrupt.end()
  } finally {
    await server.stop()
    interrupt.close()
  }
}

/** Starts a worker of this program as a process of its own. */
function startWorker(url: string, folder: string, name: string, studies: readonly string[]) {
  const args = ['worker', '--fleet', url, '--auth', credentialsOf(folder, name), '--name', name]
  const child = spawn(process.execPath, [process.argv[1]!, ...args, ...studies.flatMap((file) => ['--study', file])], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const ended = new Promise<void>((resolve) => {
    child.on('error', () => resolve())
    child.on('exit', () => resolve())
  })
  return { ended, stop: () => child.kill('SIGTERM') }
}
