// Takes runs of a fleet in a Web Worker, so that the page answers while the device computes.
import * as nats from '@nats-io/nats-core'
import { reason, UserError } from '../../engine/index.ts'
import { authenticatorOf, CREDENTIALS } from '../../train/fleet/authenticator.ts'
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
  const connection = await nats.wsconnect(optionsOf(url, name, credentials)).catch((error: unknown) => {
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

function optionsOf(url: string, name: string, credentials: string): nats.ConnectionOptions {
  const options: nats.ConnectionOptions = {
    ...{ servers: url, name, inboxPrefix: inboxPrefix(name), maxReconnectAttempts: -1, reconnectTimeWait: 500 },
    ...{ reconnectJitter: 500, pingInterval: 10_000, maxPingOut: 2 },
  }
  if (credentials.trim() === '') return options
  const authenticator = authenticatorOf(credentials, nats)
  if (!authenticator) throw new UserError(`the file holds no credentials; ${CREDENTIALS}`)
  return { ...options, authenticator }
}
