import type { Authenticator } from '@nats-io/nats-core'

/** The functions of the client that make authenticators; it is loaded by whoever calls, since it is optional. */
type Client = Pick<
  typeof import('@nats-io/nats-core'),
  'credsAuthenticator' | 'nkeyAuthenticator' | 'tokenAuthenticator' | 'usernamePasswordAuthenticator'
>

/** Returns what proves who one is, by the content of a file of credentials; undefined where it holds none. */
export function authenticatorOf(content: string, client: Client): Authenticator | undefined {
  const secret = content.trim()
  const bytes = new TextEncoder().encode(secret)
  if (secret.includes('BEGIN NATS USER JWT')) {
    if (!/END NATS USER JWT[\s\S]*SU[A-Z2-7]{56}/.test(secret)) return undefined
    // The client finds the seed only where a line ends after the last one.
    return client.credsAuthenticator(new TextEncoder().encode(`${secret}\n`))
  }
  if (/^SU[A-Z2-7]{56}$/.test(secret)) return client.nkeyAuthenticator(bytes)
  const [first, second, ...more] = secret.split(/\s+/)
  if (first && second === undefined) return client.tokenAuthenticator(first)
  if (first && second && more.length === 0) return client.usernamePasswordAuthenticator(first, second)
  return undefined
}

/** Says in a sentence which credentials there are. */
export const CREDENTIALS = 'it must be a .creds file, the seed of an NKey, a token, or a user and a password'
