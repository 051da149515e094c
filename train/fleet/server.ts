import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { files } from '#platform'
import { UserError } from '../../engine/index.ts'
import { makeFolder } from '../../engine/platform/files.ts'
import { optional } from '../../engine/platform/optional.ts'
import { CLAIMS, FILES, inboxPrefix, QUEUE, RECORDS, WORKERS, type WorkerClass } from './names.ts'

/** Milliseconds that a server may take to listen. */
const START = 10_000

/** Seconds that a handshake may take: hundreds of workers connect at once after the server was away. */
const HANDSHAKE = 30

/** Megabytes that may wait for a user. With more, the server would cut the connection. */
const MAX_PENDING = 512

/** Where Debian and others put the server, which is not in every user's PATH. */
const SERVERS = ['nats-server', '/usr/sbin/nats-server', '/usr/local/bin/nats-server']

/** A user of the server: who plans studies, or a worker. */
export interface Role {
  name: string
  /** The class of a worker; a user without one plans studies and may do everything. */
  class?: WorkerClass
}

export interface ServerOptions {
  /** The folder of the configuration, the credentials and the stored data. */
  folder: string
  host: string
  port: number
  /** Port for browsers; none where it is left out. */
  webSocketPort?: number | undefined
  /** Port of the server's own page of numbers, for this machine alone; none where it is left out. */
  monitorPort?: number | undefined
  /** Origins of pages that may connect. */
  origins?: readonly string[] | undefined
  tls?: { cert: string; key: string } | undefined
  roles: readonly Role[]
}

/** Returns the path of a role's credentials. */
export function credentialsOf(folder: string, name: string): string {
  return join(folder, `${name}.nk`)
}

/**
 * Writes the configuration of a server with a key for each role. Keys that are there stay, so that users keep their credentials. The
 * configuration holds public keys alone.
 * @returns the path of the configuration
 */
export async function writeServerFolder(options: ServerOptions): Promise<string> {
  const { folder, roles } = options
  await makeFolder(folder)
  const users: string[] = []
  for (const role of roles) users.push(userOf(role, await publicKeyOf(credentialsOf(folder, role.name))))
  const path = join(folder, 'server.conf')
  await files.write(path, configuration(options, users))
  return path
}

async function publicKeyOf(path: string): Promise<string> {
  const { nkeys } = await optional(import('@nats-io/transport-node'), '@nats-io/transport-node', 'no keys can be made')
  if (existsSync(path)) {
    const seed = await files.read(path)
    return nkeys.fromSeed(new TextEncoder().encode(new TextDecoder().decode(seed as Uint8Array).trim())).getPublicKey()
  }
  const pair = nkeys.createUser()
  await files.write(path, `${new TextDecoder().decode(pair.getSeed())}\n`)
  await chmod(path, 0o600)
  return pair.getPublicKey()
}

/** Returns the subjects that a worker may publish to. Only its own name stands in those of its entry, its metrics and its records. */
export function workerSubjects({ name, class: own }: Required<Role>): string[] {
  const consumers = [`runs-${own}`, `runs-worker-${name}`]
  const read = (stream: string) => [
    `$JS.API.STREAM.INFO.${stream}`,
    `$JS.API.STREAM.MSG.GET.${stream}`,
    `$JS.API.DIRECT.GET.${stream}`,
    `$JS.API.DIRECT.GET.${stream}.>`,
    `$JS.API.CONSUMER.CREATE.${stream}`,
    `$JS.API.CONSUMER.CREATE.${stream}.>`,
    `$JS.API.CONSUMER.DELETE.${stream}.>`,
    `$JS.FC.${stream}.>`,
  ]
  return [
    '$JS.API.INFO',
    `$JS.API.STREAM.INFO.${QUEUE}`,
    `$JS.API.STREAM.MSG.GET.${QUEUE}`,
    `$JS.API.STREAM.MSG.GET.${RECORDS}`,
    ...consumers.flatMap((consumer) => [
      `$JS.API.CONSUMER.INFO.${QUEUE}.${consumer}`,
      `$JS.API.CONSUMER.MSG.NEXT.${QUEUE}.${consumer}`,
      `$JS.ACK.${QUEUE}.${consumer}.>`,
    ]),
    ...[`KV_${CLAIMS}`, `KV_${WORKERS}`, `OBJ_${FILES}`].flatMap(read),
    `$JS.API.STREAM.PURGE.OBJ_${FILES}`,
    `$KV.${CLAIMS}.>`,
    `$KV.${WORKERS}.${name}`,
    `$O.${FILES}.>`,
    `paraformer.metrics.${name}.>`,
    `paraformer.records.${name}.>`,
    `paraformer.branches.${name}.*.out`,
  ]
}

function userOf(role: Role, key: string): string {
  const { name, class: own } = role
  const inbox = `"${inboxPrefix(name)}.>"`
  if (own === undefined) return `    # ${name} plans studies.\n    { nkey: ${key} }`
  const subjects = workerSubjects({ name, class: own }).map((subject) => `          "${subject}"`)
  return `    # ${name} is a worker of class ${own}.
    {
      nkey: ${key}
      permissions: {
        publish: { allow: [
${subjects.join('\n')}
        ] }
        subscribe: { allow: [ ${inbox}, "paraformer.branches.${name}.>" ] }
        allow_responses: true
      }
    }`
}

function configuration(
  { folder, host, port, webSocketPort, monitorPort, origins = [], tls }: ServerOptions,
  users: readonly string[],
): string {
  const encrypted = tls ? `tls: { cert_file: "${tls.cert}", key_file: "${tls.key}", timeout: ${HANDSHAKE} }` : ''
  const web =
    webSocketPort === undefined
      ? ''
      : `websocket: {
  host: "${host}"
  port: ${webSocketPort}
  ${tls ? encrypted : 'no_tls: true'}
  same_origin: false
  ${origins.length > 0 ? `allowed_origins: [ ${origins.map((origin) => `"${origin}"`).join(', ')} ]` : ''}
}
`
  return `# The server of a fleet of paraformer. Made by paraformer fleet up, which writes it anew.
host: "${host}"
port: ${port}
max_payload: 1MB
max_connections: 4096
# A trainer of copies of a model gets all gradients of a step at once, maybe over a slow link.
max_pending: ${MAX_PENDING}MB
write_deadline: "60s"
${monitorPort === undefined ? '' : `http: "127.0.0.1:${monitorPort}"`}
${encrypted}
jetstream: { store_dir: "${join(folder, 'data')}", max_memory_store: 64MB, max_file_store: 20GB }
${web}authorization: {
  timeout: ${HANDSHAKE}
  users: [
${users.join('\n')}
  ]
}
`
}

/** A server that runs. */
export interface RunningServer {
  pid: number
  /** Resolves with a text when the process ends. */
  ended: Promise<string>
  stop(): Promise<void>
}

/**
 * Starts nats-server on a configuration, and waits until it listens.
 * @param log is the file of the server's log
 * @throws UserError when there is no nats-server, or it ends at once
 */
export async function startServer(
  config: string,
  log: string,
  { host, port }: { host: string; port: number },
): Promise<RunningServer> {
  let missing: unknown
  for (const program of SERVERS) {
    const child = spawn(program, ['-c', config, '-l', log], { stdio: ['ignore', 'ignore', 'pipe'], detached: true })
    let said = ''
    child.stderr.on('data', (text) => {
      said = `${said}${text}`.slice(0, 1000)
    })
    const ended = new Promise<string>((resolve) => {
      child.on('error', (error) => {
        missing = error
        resolve('is not there')
      })
      child.on('exit', (code, signal) => resolve(signal ? `was ended by ${signal}` : `ended with code ${code}`))
    })
    const how = await Promise.race([ended, listening(host, port)])
    if (how === undefined)
      return {
        pid: child.pid!,
        ended,
        async stop() {
          child.kill('SIGTERM')
          await ended
        },
      }
    if ((missing as { code?: string } | undefined)?.code === 'ENOENT') continue
    child.kill('SIGKILL')
    throw new UserError(`nats-server ${how}: ${said.trim().split('\n').at(-1) || `${log} says why`}`)
  }
  throw new UserError('nats-server is not there; install it with apt-get install nats-server, or from nats.io')
}

/** Resolves when something listens, or with a text when nothing does for too long. */
async function listening(host: string, port: number): Promise<string | undefined> {
  const until = performance.now() + START
  while (performance.now() < until) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = createConnection({ host, port }, () => {
        socket.destroy()
        resolve(true)
      })
      socket.on('error', () => resolve(false))
    })
    if (open) return undefined
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return 'does not listen'
}
