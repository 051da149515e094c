import type { Consumer, JsMsg } from '@nats-io/jetstream'
import { parseJson } from '../../engine/base/json.ts'
import { reason, UserError } from '../../engine/index.ts'
import { FORMAT } from '../run/format.ts'
import { canonical } from '../study/plan/canonical.ts'
import type { Check } from '../study/run/check.ts'
import { Attempt, type AttemptEnd, type AttemptParts } from './attempt.ts'
import { changeClaim, hasEnded, readClaim } from './claim.ts'
import { type DeclaredRun, type Machine, NotHereError } from './machine.ts'
import { type Claim, MAX_MESSAGE, RUN_MESSAGE, type RunMessage } from './messages.ts'
import { claimKey, metricsSubject, QUEUE, type WorkerClass } from './names.ts'
import { Presence, presentWorkers } from './presence.ts'
import { type FleetStore, PRESENCE, type RunQueue } from './store.ts'

/** Milliseconds that a worker waits for a run that names it, and for one of its class, in turn. */
const WAITS = [1000, 4000]
/** Milliseconds before a run that this worker cannot take, or that failed here, is offered again. */
const AGAIN = 15_000
/** Failed attempts after which a run has failed. */
const MAX_FAILURES = 4
/** Milliseconds between two reports about a run. */
const REPORT_EVERY = 1000
/** Milliseconds before the server is asked again after an error. */
const PAUSE = 1000

export interface WorkerOptions {
  store: FleetStore
  name: string
  class: WorkerClass
  machine: Machine
  /** Ends after this many runs; default never. */
  maxRuns?: number | undefined
  /** Ends when no run came for so many milliseconds; default never. */
  idle?: number | undefined
  signal: AbortSignal
  note(text: string): void
  onProgress(label: string): void
}

/** The numbers of a worker that has ended. */
export interface WorkerSummary {
  done: number
  failed: number
}

/** A worker of a fleet: takes one run after the other. */
export class FleetWorker {
  readonly #options: WorkerOptions
  readonly #presence: Presence
  /** Runs that failed here, which others may try first. */
  readonly #avoided = new Set<string>()

  /** Takes runs until the signal aborts. @throws UserError when the worker cannot work at all */
  static async work(options: WorkerOptions): Promise<WorkerSummary> {
    const { store, name, machine, note } = options
    const { device, host, pid, sources } = machine
    const entry = { name, class: options.class, host, pid, device, sources }
    const more = { since: new Date().toISOString(), done: 0, failed: 0 }
    const presence = await Presence.begin(store.workers, { ...entry, ...more }, PRESENCE / 6, (other) => machine.isGone(other))
    const worker = new FleetWorker(options, presence)
    try {
      note(`worker ${name} (${options.class}, ${device.replace(/-[^-]*$/, '')}) takes runs`)
      await worker.#loop()
      return { done: presence.entry.done, failed: presence.entry.failed }
    } finally {
      await presence.end()
    }
  }

  private constructor(options: WorkerOptions, presence: Presence) {
    this.#options = options
    this.#presence = presence
  }

  async #loop(): Promise<void> {
    const { store, name, signal, maxRuns = Number.POSITIVE_INFINITY, idle = Number.POSITIVE_INFINITY, note } = this.#options
    const targets = [{ worker: name }, { class: this.#options.class }]
    let queues: (RunQueue | undefined)[] = []
    let last = performance.now()
    let complained = false
    while (!signal.aborted && this.#presence.entry.done < maxRuns && performance.now() - last < idle) {
      try {
        for (const [i, target] of targets.entries()) {
          if (signal.aborted) return
          const queue = queues[i] ?? (await store.openConsumer(target))
          queues[i] = queue
          // Runs that name a worker are rare, and are looked for between two others.
          if (!queue && i === targets.length - 1) await pause(WAITS[i]!, signal)
          const message = queue && (await next(queue.consumer, WAITS[i]!, signal))
          if (!message) continue
          await this.#take(message, queue.lease)
          last = performance.now()
          break
        }
        complained = false
      } catch (error) {
        if (store.connection.isClosed()) throw new UserError(`the connection to the fleet is closed (${reason(error)})`)
        if (/permissions? violation/i.test(`${reason(error)} ${reason((error as Error).cause)}`))
          throw new UserError(
            `the server does not let ${name} take runs of class ${this.#options.class}; its credentials are of another class`,
          )
        // The connection itself says when it is lost and there again.
        if (!complained) note(`the queue does not answer (${reason(error)}); trying again`)
        complained = true
        queues = []
        await pause(PAUSE, signal)
      }
    }
  }

  /** Does a run, or gives it back. @param lease milliseconds after which the server gives the run to another worker */
  async #take(message: JsMsg, lease: number): Promise<void> {
    const { store, note } = this.#options
    let run: RunMessage
    try {
      run = parseJson(
        RUN_MESSAGE,
        message.data.length > MAX_MESSAGE ? '' : message.string(),
        `message ${message.seq} of the queue`,
      )
    } catch (error) {
      note(`refused: ${reason(error)}`)
      return message.term()
    }
    // From here on the lease is kept, however long it takes to load data or to train.
    const keeping = setInterval(() => message.working(), lease / 3)
    try {
      await this.#do(message, run)
    } finally {
      clearInterval(keeping)
      await store.connection.flush().catch(() => {})
    }
  }

  async #do(message: JsMsg, run: RunMessage): Promise<void> {
    const { machine, signal, note } = this.#options
    const title = `${run.study}, ${run.arm}, ${run.key.slice(0, 8)}`
    if (this.#avoided.has(run.key) && (await this.#others()) > 0) {
      const found = await readClaim(this.#options.store.claims, claimKey(run.folder, run.key))
      return found && hasEnded(found.claim) ? message.ack() : message.nak(AGAIN)
    }
    let declared: DeclaredRun
    let check: Check | undefined
    try {
      declared = await machine.declare(run)
      const found = await declared.check({ signal, note })
      if (!found) return message.nak()
      check = found.check
    } catch (error) {
      if (error instanceof NotHereError) {
        note(`${title}: left to others: ${error.message}`)
        return message.nak(AGAIN)
      }
      if (!(error instanceof UserError)) throw error
      note(`${title}: refused: ${error.message}`)
      return this.#refuse(message, run, error.message)
    }
    const claim = await this.#claim(message, run)
    if (!claim) return
    await this.#attempt(message, run, { site: declared.site(), claim, check }, title)
  }

  async #attempt(
    message: JsMsg,
    run: RunMessage,
    found: Pick<AttemptParts, 'site' | 'claim' | 'check'>,
    title: string,
  ): Promise<void> {
    const { store, name, machine, signal, note, onProgress } = this.#options
    const { claim } = found
    const { attempt } = claim
    const { study, arm, key } = run
    const began = performance.now()
    note(`${title}: attempt ${attempt}`)
    let reported = 0
    const show = (step: number, label: string) => {
      this.#presence.set({ run: { key, study, arm, attempt, step, label } })
      onProgress(`${title}: ${label}`)
      if (performance.now() - reported < REPORT_EVERY) return
      reported = performance.now()
      const line = JSON.stringify({ format: FORMAT, attempt, step, label })
      store.streams.publish(metricsSubject(name, key), line).catch(() => {})
    }
    show(0, 'begins')
    const end = await new Attempt({
      store,
      message: run,
      ...found,
      worker: name,
      device: machine.device,
      signal,
      note: (text) => note(`${title}: ${text}`),
      onProgress: show,
    }).run()
    await this.#settle(message, run, claim, end)
    await this.#presence.show({ run: undefined })
    const seconds = ((performance.now() - began) / 1000).toFixed(0)
    if (end.how === 'done') note(`${title}: done, ${seconds} s`)
    else if (end.how === 'stopped') note(`${title}: saved and given back`)
    else note(`${title}: ${end.message}`)
  }

  /** Tells the queue and the entry of the run how an attempt ended. A reason for `term()` would have nats-server 2.9 ignore it. */
  async #settle(message: JsMsg, run: RunMessage, { attempt }: Claim, end: AttemptEnd): Promise<void> {
    const { store, name } = this.#options
    const entry = this.#presence.entry
    if (end.how === 'fenced') return
    if (end.how === 'done') {
      this.#presence.set({ done: entry.done + 1 })
      message.ack()
      return
    }
    let final = false
    const mine = (claim: Claim | undefined): claim is Claim =>
      claim?.state === 'running' && claim.attempt === attempt && claim.worker === name
    const after = await changeClaim(store.claims, claimKey(run.folder, run.key), (claim) => {
      if (!mine(claim)) return undefined
      const { worker, message: _, ...rest } = claim
      if (end.how === 'stopped') return { ...rest, state: 'waiting' }
      const failures = [...claim.failures, { attempt, worker: name, reason: end.message }]
      final = end.asked || failures.length >= MAX_FAILURES
      return { ...rest, state: final ? 'failed' : 'waiting', failures }
    })
    if (end.how === 'stopped') return message.nak()
    this.#presence.set({ failed: entry.failed + 1 })
    this.#avoided.add(run.key)
    if (after?.state === 'failed') message.term()
    else if (after?.state === 'waiting') message.nak(AGAIN)
  }

  /** Claims a run for a new attempt. @returns undefined when it is not to be done, which the queue was told */
  async #claim(message: JsMsg, run: RunMessage): Promise<Claim | undefined> {
    const { store, name } = this.#options
    const { seq } = message
    // A message that was published anew while another one for the same run is in the queue counts as nothing.
    const older = await this.#olderMessage(run, seq)
    let taken: Claim | undefined
    const found = await changeClaim(store.claims, claimKey(run.folder, run.key), (claim) => {
      // A change whose answer was lost may have taken effect.
      if (taken && canonical(claim) === canonical(taken)) return undefined
      taken = undefined
      if (!claim || hasEnded(claim)) return undefined
      if (claim.state === 'running' && claim.message !== seq && older) return undefined
      taken = { ...claim, state: 'running', attempt: claim.attempt + 1, worker: name, message: seq }
      return taken
    })
    if (taken) return taken
    if (found) message.ack()
    else message.term()
    return undefined
  }

  /** Whether the queue still has the message that the present attempt at a run was begun for. */
  async #olderMessage(run: RunMessage, seq: number): Promise<boolean> {
    const { store } = this.#options
    const entry = await store.claims.get(claimKey(run.folder, run.key))
    const number = entry?.operation === 'PUT' ? (entry.json() as Partial<Claim>).message : undefined
    if (number === undefined || number === seq) return false
    return store.manager.streams.getMessage(QUEUE, { seq: number }).then(
      (found) => found !== null,
      () => false,
    )
  }

  /** Ends a run whose settings no worker can take. */
  async #refuse(message: JsMsg, run: RunMessage, why: string): Promise<void> {
    const { store, name } = this.#options
    await changeClaim(store.claims, claimKey(run.folder, run.key), (claim) => {
      if (!claim || hasEnded(claim)) return undefined
      const failure = { attempt: claim.attempt, worker: name, reason: why }
      const { worker, message: _, ...rest } = claim
      return { ...rest, state: 'failed', failures: [...claim.failures, failure] }
    })
    message.term()
  }

  /** Counts the other workers of this class that are there. */
  async #others(): Promise<number> {
    const { store, name } = this.#options
    const workers = await presentWorkers(store.workers).catch(() => [])
    return workers.filter((worker) => worker.name !== name && worker.class === this.#options.class).length
  }
}

/** Waits for some milliseconds, or until the signal. */
async function pause(milliseconds: number, signal: AbortSignal): Promise<undefined> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, milliseconds)
    signal.addEventListener('abort', end)
  })
}

/** Waits for a message. @returns undefined when none came */
async function next(consumer: Consumer, expires: number, signal: AbortSignal): Promise<JsMsg | undefined> {
  const asking = consumer.next({ expires })
  let cancel = () => {}
  const stop = new Promise<undefined>((resolve) => {
    cancel = () => resolve(undefined)
    signal.addEventListener('abort', cancel)
  })
  try {
    const message = await Promise.race([asking, stop])
    if (signal.aborted) {
      // A message that comes after all goes back at once.
      asking.then(
        (late) => late?.nak(),
        () => {},
      )
      if (message) return undefined
    }
    return message ?? undefined
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}
