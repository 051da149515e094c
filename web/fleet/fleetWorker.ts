// Takes runs of a fleet in a Web Worker, so that the page answers while the device computes.
import { type ConnectionOptions, nkeyAuthenticator, tokenAuthenticator, wsconnect } from '@nats-io/nats-core'
import { reason, UserError } from '../../engine/index.ts'
import { checkName, inboxPrefix } from '../../train/fleet/names.ts'
import { FleetStore } from '../../train/fleet/store.ts'
import { FleetWorker } from '../../train/fleet/worker.ts'
import { BrowserMachine } from './machine.ts'
import type { FleetAsked, FleetTold } from './protocol.ts'

const ends = new AbortController()

function tell(message: FleetTold): void {
  postMessage(message)
}

addEventListener('message', ({ data }: MessageEvent<FleetAsked>) => {
  if ('stop' in data) ends.abort()
  else
    work(data.start).then(
      (ended) => tell({ ended, failed: false }),
      (error: unknown) => tell({ ended: reason(error), failed: true }),
    )
})

async function work({ url, name, credentials }: Extract<FleetAsked, { start: unknown }>['start']): Promise<string> {
  checkName(name, 'the name')
  const note = (text: string) => tell({ note: text })
  const connection = await wsconnect(optionsOf(url, name, credentials)).catch((error: unknown) => {
    const why = reason(error)
    throw new UserError(
      /authorization|authentication/i.test(why)
        ? `the server refuses these credentials for ${name}`
        : `${url} cannot be reached (${why}); it must be a server with WebSocket, and wss:// where this page is https`,
    )
  })
  void (async () => {
    for await (const { type } of connection.status()) {
      if (type === 'disconnect') note('the connection is lost; trying again')
      else if (type === 'reconnect') note('connected again')
    }
  })()
  try {
    const store = await FleetStore.open(connection, false)
    const machine = await BrowserMachine.open(store, 'a browser')
    const { done } = await FleetWorker.work({
      ...{ store, name, class: 'browser' as const, machine, signal: ends.signal, note },
      onProgress: (progress) => tell({ progress }),
    })
    return `${done} runs done`
  } finally {
    await connection.drain().catch(() => {})
  }
}

function optionsOf(url: string, name: string, credentials: string): ConnectionOptions {
  const options: ConnectionOptions = {
    ...{ servers: url, name, inboxPrefix: inboxPrefix(name), maxReconnectAttempts: -1, reconnectTimeWait: 500 },
    ...{ reconnectJitter: 500, pingInterval: 10_000, maxPingOut: 2 },
  }
  const secret = credentials.trim()
  if (/^SU[A-Z2-7]{56}$/.test(secret)) options.authenticator = nkeyAuthenticator(new TextEncoder().encode(secret))
  else if (secret !== '') options.authenticator = tokenAuthenticator(secret)
  return options
}
