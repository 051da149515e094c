// Credentials of a server in operator mode, as `nsc` makes them: an operator signs an account, and the account signs its users.
import { createHash } from 'node:crypto'
import { nkeys } from '@nats-io/transport-node'
import { inboxPrefix } from '../../train/fleet/names.ts'
import { workerSubjects } from '../../train/fleet/server.ts'

type Keys = ReturnType<typeof nkeys.createUser>

const UNLIMITED = { subs: -1, data: -1, payload: -1 }
const ACCOUNT = { ...UNLIMITED, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 }
const STORAGE = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 }

const base64 = (value: string | Uint8Array) => Buffer.from(value as string).toString('base64url')

/** Signs claims about a key. @param seconds after which they expire, counted from now; default never */
function sign(issuer: Keys, subject: string, name: string, nats: object, seconds?: number): string {
  const now = Math.floor(Date.now() / 1000)
  const claims = { iat: now, iss: issuer.getPublicKey(), name, sub: subject, nats: { ...nats, version: 2 } }
  const timed = seconds === undefined ? claims : { ...claims, exp: now + seconds }
  const jti = createHash('sha512-256').update(JSON.stringify(timed)).digest('hex')
  const text = `${base64('{"typ":"JWT","alg":"ed25519-nkey"}')}.${base64(JSON.stringify({ jti, ...timed }))}`
  return `${text}.${base64(issuer.sign(new TextEncoder().encode(text)))}`
}

/** An operator with an account, whose users are made when they are asked for. */
export class Operator {
  readonly #operator: Keys = nkeys.createOperator()
  readonly #account: Keys = nkeys.createAccount()
  readonly #system: Keys = nkeys.createAccount()

  /** The lines of the server's configuration. */
  get configuration(): string {
    const [account, system] = [this.#account.getPublicKey(), this.#system.getPublicKey()]
    const own = sign(this.#operator, account, 'fleet', { type: 'account', limits: { ...ACCOUNT, ...STORAGE } })
    const other = sign(this.#operator, system, 'SYS', { type: 'account', limits: ACCOUNT })
    return `operator: ${sign(this.#operator, this.#operator.getPublicKey(), 'operator', { type: 'operator', system_account: system })}
system_account: ${system}
resolver: MEMORY
resolver_preload: { ${account}: ${own}, ${system}: ${other} }
`
  }

  /** Makes the file of a user: the coordinator, or a worker of class cpu. @param seconds after which it expires; default never */
  credentials(name: string, seconds?: number): string {
    const user = nkeys.createUser()
    const permissions =
      name === 'coordinator'
        ? {}
        : {
            pub: { allow: workerSubjects({ name, class: 'cpu' }) },
            sub: { allow: [`${inboxPrefix(name)}.>`] },
            resp: { max: 1, ttl: 0 },
          }
    const jwt = sign(this.#account, user.getPublicKey(), name, { type: 'user', ...UNLIMITED, ...permissions }, seconds)
    const seed = new TextDecoder().decode(user.getSeed())
    return `-----BEGIN NATS USER JWT-----
${jwt}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
${seed}
------END USER NKEY SEED------
`
  }
}
