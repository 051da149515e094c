import { readFile, stat } from 'node:fs/promises'
import type { NatsConnection, NodeConnectionOptions } from '@nats-io/transport-node'
import { reason, UserError } from '../../engine/index.ts'
import { optional } from '../../engine/platform/optional.ts'
import { authenticatorOf, CREDENTIALS } from './authenticator.ts'
import { inboxPrefix } from './names.ts'

/** Milliseconds between tries to reach a server again. */
const RECONNECT = 500

/** How a server of a fleet is reached. */
export interface FleetAddress {
  /** Such as `nats://host:4222` or `tls://host:4222`. */
  url: string
  /** A file of credentials: a user's `.creds`, a seed of an NKey, or a token. */
  auth?: string | undefined
  /** A file of certificates that may sign the server's. */
  ca?: string | undefined
}

/** @throws UserError for an address that is none, or that holds a password */
export function checkAddress(url: string): string {
  let parsed: URL
  try {
    parsed = new URL(url)
  } catch {
    throw new UserError(`--fleet ${url}: is no address; write one such as nats://localhost:4222`)
  }
  if (parsed.username || parsed.password)
    throw new UserError('--fleet: a command line is no place for a password; put the token into a file and name it with --auth')
  if (!['nats:', 'tls:'].includes(parsed.protocol))
    throw new UserError(`--fleet ${url}: use nats:// or tls://, such as nats://localhost:4222`)
  return url
}

/**
 * Connects to the server of a fleet. A connection that is lost later is made again until it is closed.
 * @param name is that of a worker, or `coordinator`; the server allows each user the answers to its own name alone
 * @param say gets a line when the connection is lost, is there again, or something is refused
 * @throws UserError in one line when there is no server, or it refuses the credentials
 */
export async function connectFleet(address: FleetAddress, name: string, say: (text: string) => void): Promise<NatsConnection> {
  const nats = await optional(import('@nats-io/transport-node'), '@nats-io/transport-node', 'a fleet cannot be reached')
  const { url, ca } = address
  const options: NodeConnectionOptions = {
    servers: url,
    name,
    // A user may listen to the subjects of its own name alone.
    inboxPrefix: inboxPrefix(name),
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT,
    // Each worker asks at another moment after the server was away.
    reconnectJitter: RECONNECT,
    pingInterval: 10_000,
    maxPingOut: 2,
    timeout: 10_000,
    ignoreAuthErrorAbort: false,
    authenticator: address.auth === undefined ? undefined! : await authenticator(address.auth, nats),
    ...((ca !== undefined || url.startsWith('tls:')) && {
      tls: ca === undefined ? {} : { ca: await readCertificates(ca) },
    }),
  }
  if (options.authenticator === undefined) delete options.authenticator
  let connection: NatsConnection
  try {
    connection = await nats.connect(options)
  } catch (error) {
    throw connectError(error, address)
  }
  void report(connection, url, say)
  return connection
}

/** What is wrong with the certificate of a server, by the code of the error. */
const CERTIFICATE: { [code: string]: string } = {
  CERT_HAS_EXPIRED: "the server's certificate has expired; give the server a new one",
  CERT_NOT_YET_VALID: "the server's certificate is not valid yet; look at the clocks of both machines",
  ERR_TLS_CERT_ALTNAME_INVALID:
    "the server's certificate is for another name; use a name that it holds, or make one with this name",
}
const NOT_SIGNED = "the server's certificate is signed by none of those that this machine trusts; name the signer's with --ca"
for (const code of [
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_SIGNATURE_FAILURE',
])
  CERTIFICATE[code] = NOT_SIGNED

/** Returns the code of an error or of the innermost cause that has one. */
function codeOf(error: unknown): string {
  const { code, cause } = error as { code?: string; cause?: unknown }
  return (cause ? codeOf(cause) : '') || (typeof code === 'string' ? code : '')
}

function connectError(error: unknown, { url, auth }: FleetAddress): UserError {
  const why = reason(error)
  if (/authentication timeout/i.test(why))
    return new UserError(`${url}: the server did not wait for the credentials; it or this machine is busy, so try again`)
  if (/authorization|authentication|nkey|signature/i.test(why)) {
    const with_ = auth === undefined ? 'no credentials; name a file with --auth' : `the credentials of ${auth}`
    return new UserError(`${url}: the server refuses ${with_}`)
  }
  const certificate = CERTIFICATE[codeOf(error)]
  if (certificate) return new UserError(`${url}: ${certificate}`, { cause: error })
  if (/does not support 'tls'/.test(why))
    return new UserError(
      `${url}: the server is not encrypted; start it with --tls-cert and --tls-key, or use nats:// within one machine`,
    )
  return new UserError(`${url}: cannot be reached (${why}); start a server with paraformer fleet up, or name another`, {
    cause: error,
  })
}

/** Says what happens to a connection. */
async function report(connection: NatsConnection, url: string, say: (text: string) => void): Promise<void> {
  for await (const status of connection.status()) {
    if (status.type === 'disconnect') say(`${url}: the connection is lost; trying again`)
    else if (status.type === 'reconnect') say(`${url}: connected again`)
    else if (status.type === 'error') say(`${url}: refused: ${reason(status.error)}`)
  }
}

async function authenticator(path: string, nats: typeof import('@nats-io/transport-node')) {
  const found = authenticatorOf(await readSecret(path, '--auth', true), nats)
  if (!found) throw new UserError(`${path}: holds no credentials; ${CREDENTIALS}`)
  return found
}

/** @throws UserError for a file without certificates */
async function readCertificates(path: string): Promise<string> {
  const text = await readSecret(path, '--ca', false)
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text
  throw new UserError(`--ca ${path}: holds no certificate; it must be a PEM file`)
}

/** @throws UserError for a file that is not there, or a secret that others can read */
async function readSecret(path: string, flag: string, secret: boolean): Promise<string> {
  try {
    const { mode } = await stat(path)
    if (secret && (mode & 0o077) !== 0 && process.platform !== 'win32')
      throw new UserError(`${flag} ${path}: others can read it; run chmod 600 ${path}`)
    return await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof UserError) throw error
    throw new UserError(`${flag} ${path}: cannot be read (${(error as { code?: string }).code ?? reason(error)})`)
  }
}
