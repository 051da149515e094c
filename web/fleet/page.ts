// The page of a worker in a browser.
import { onPress, turn } from '../buttons.ts'
import type { FleetAsked, FleetTold } from './protocol.ts'

/** Lines that the page shows at most. */
const LINES = 200

const byId = <T extends HTMLElement>(id: string) => document.getElementById(id) as T
const [form, start, stop, state, log] = [
  byId<HTMLFormElement>('fleet'),
  byId<HTMLButtonElement>('start'),
  byId<HTMLButtonElement>('stop'),
  byId('state'),
  byId('log'),
]
const [url, name, credentials] = ['url', 'name', 'credentials'].map((id) => byId<HTMLInputElement>(id)) as [
  HTMLInputElement,
  HTMLInputElement,
  HTMLInputElement,
]
const NO_FILE = byId('credentials-file').textContent
let worker: Worker | undefined

form.addEventListener('submit', async (event) => {
  event.preventDefault()
  if (worker) return
  const secret = (await credentials.files?.[0]?.text()) ?? ''
  worker = new Worker(new URL('./fleetWorker.js', import.meta.url), { type: 'module' })
  worker.onmessage = ({ data }: MessageEvent<FleetTold>) => show(data)
  worker.onerror = ({ message }) => show({ ended: message || 'the worker does not start', failed: true })
  ask({ start: { url: url.value, name: name.value, credentials: secret } })
  running(true)
  state.textContent = 'Connecting'
})
credentials.addEventListener('change', () => {
  byId('credentials-file').textContent = credentials.files?.[0]?.name ?? NO_FILE
})
onPress(stop, () => {
  ask({ stop: true })
  turn(stop, false)
  state.textContent = 'Saving and giving back'
})
// A page that closes gives its run back at once where there is time, else when the lease is over.
addEventListener('pagehide', () => ask({ stop: true }))

function ask(message: FleetAsked): void {
  worker?.postMessage(message)
}

function show(told: FleetTold): void {
  if ('progress' in told) {
    state.textContent = told.progress
    return
  }
  const line = document.createElement('li')
  line.textContent = 'note' in told ? told.note : told.ended
  log.append(line)
  while (log.children.length > LINES) log.firstElementChild!.remove()
  if ('note' in told) state.textContent = told.note
  else {
    state.textContent = told.failed ? `Stopped: ${told.ended}` : `Stopped; ${told.ended}.`
    worker?.terminate()
    worker = undefined
    running(false)
  }
}

function running(is: boolean): void {
  turn(start, !is)
  turn(stop, is)
  for (const input of [url, name, credentials]) input.disabled = is
}
