import type { Consumer, JetStreamClient, JetStreamManager } from '@nats-io/jetstream'
import type { KV } from '@nats-io/kv'
import type { ObjectStore } from '@nats-io/obj'
import type { NatsConnection } from '@nats-io/transport-node'
import { reason, UserError } from '../../engine/index.ts'
import { optional } from '../../engine/platform/optional.ts'
import { MAX_MESSAGE } from './messages.ts'
import { CLAIMS, consumerName, FILES, METRICS, QUEUE, RECORDS, runSubjects, type Target, WORKERS } from './names.ts'

const MEGABYTE = 1024 ** 2
const GIGABYTE = 1024 ** 3
const NANOS_PER_MS = 1e6
const DAY = 24 * 3600 * 1000

/** Milliseconds that a worker may say nothing before its run is given to another one. */
export const LEASE = 30_000
/** Milliseconds after which a worker that says nothing is no longer shown. */
export const PRESENCE = 30_000
/** Milliseconds in which the server knows again a run that is published twice. */
const KNOWN_TWICE = 3600 * 1000

/** The most workers of one target. */
const MAX_WORKERS = 10_000
/** The code of the server's answer for a consumer that is not there. */
const NO_CONSUMER = 10014

const EFFECT = 'a fleet cannot be used'

/** The runs for a target, as workers take them. */
export interface RunQueue {
  consumer: Consumer
  /** Milliseconds after which a run whose worker says nothing goes to another one. */
  lease: number
}

/** The streams, buckets and objects of a fleet, over one connection. */
export class FleetStore {
  readonly connection: NatsConnection
  readonly streams: JetStreamClient
  readonly manager: JetStreamManager
  readonly claims: KV
  readonly workers: KV
  readonly files: ObjectStore

  private constructor(parts: {
    connection: NatsConnection
    streams: JetStreamClient
    manager: JetStreamManager
    claims: KV
    workers: KV
    files: ObjectStore
  }) {
    this.connection = parts.connection
    this.streams = parts.streams
    this.manager = parts.manager
    this.claims = parts.claims
    this.workers = parts.workers
    this.files = parts.files
  }

  /**
   * Opens what a fleet keeps on its server.
   * @param create whether streams and buckets that are not there are made, which only some roles may do
   * @throws UserError when they are not there, or the server keeps nothing
   */
  static async open(connection: NatsConnection, create: boolean): Promise<FleetStore> {
    const [jetstream, kv, obj] = await Promise.all([
      optional(import('@nats-io/jetstream').then(named), '@nats-io/jetstream', EFFECT),
      optional(import('@nats-io/kv').then(named), '@nats-io/kv', EFFECT),
      optional(import('@nats-io/obj').then(named), '@nats-io/obj', EFFECT),
    ])
    try {
      const manager = await jetstream.jetstreamManager(connection, { checkAPI: false })
      const streams = jetstream.jetstream(connection)
      if (create) await makeStreams(manager)
      const [buckets, objects] = [new kv.Kvm(connection), new obj.Objm(connection)]
      const claims = create
        ? await buckets.create(CLAIMS, { history: 1, max_bytes: 256 * MEGABYTE, maxValueSize: MAX_MESSAGE })
        : await buckets.open(CLAIMS)
      const workers = create
        ? await buckets.create(WORKERS, { history: 1, ttl: PRESENCE, max_bytes: 16 * MEGABYTE, maxValueSize: MAX_MESSAGE })
        : await buckets.open(WORKERS)
      const files = create ? await objects.create(FILES, { max_bytes: 16 * GIGABYTE }) : await objects.open(FILES)
      return new FleetStore({ connection, streams, manager, claims, workers, files })
    } catch (error) {
      throw new UserError(
        `${connection.getServer()}: keeps no fleet (${reason(error)}); start nats-server with -js, and run a study there or paraformer fleet up`,
        { cause: error },
      )
    }
  }

  /**
   * Makes the durable consumer that the workers of a target share, or gives it another lease.
   * @param lease in milliseconds
   * @returns the number of runs that it offers, or that workers have
   */
  async makeConsumer(target: Target, lease: number): Promise<number> {
    const config = {
      durable_name: consumerName(target),
      filter_subject: runSubjects(target),
      ack_policy: 'explicit' as const,
      ack_wait: lease * NANOS_PER_MS,
      max_deliver: -1,
      max_ack_pending: MAX_WORKERS,
      // Each worker that waits has a request there, and the server refuses those beyond, 512 unless it is told.
      max_waiting: MAX_WORKERS,
    }
    const { consumers } = this.manager
    let info = await consumers.info(QUEUE, config.durable_name).catch(() => undefined)
    if (!info) info = await consumers.add(QUEUE, config)
    else if (info.config.ack_wait !== config.ack_wait) {
      // The number of waiting requests of a consumer cannot be changed.
      const { max_waiting } = info.config
      info = await consumers.update(QUEUE, config.durable_name, { ...config, ...(max_waiting && { max_waiting }) })
    }
    return info.num_pending + info.num_ack_pending
  }

  /** Opens the consumer of a target; undefined before a study asked for it. */
  async openConsumer(target: Target): Promise<RunQueue | undefined> {
    const name = consumerName(target)
    try {
      const { config } = await this.manager.consumers.info(QUEUE, name)
      return { consumer: await this.streams.consumers.get(QUEUE, name), lease: (config.ack_wait ?? 0) / NANOS_PER_MS }
    } catch (error) {
      if ((error as { code?: number }).code === NO_CONSUMER || /consumer not found/.test(reason(error))) return undefined
      throw error
    }
  }

  async close(): Promise<void> {
    await this.connection.drain().catch(() => {})
  }
}

/** Returns the exports of a CommonJS module, which bundlers may put below `default`. */
function named<M extends object>(module: M): M {
  return (module as { default?: M }).default ?? module
}

async function makeStreams(manager: JetStreamManager): Promise<void> {
  const wanted = [
    {
      name: QUEUE,
      subjects: ['paraformer.runs.>'],
      retention: 'workqueue' as const,
      max_bytes: 256 * MEGABYTE,
      max_msg_size: MAX_MESSAGE,
      duplicate_window: KNOWN_TWICE * NANOS_PER_MS,
    },
    {
      name: METRICS,
      subjects: ['paraformer.metrics.>'],
      max_bytes: 256 * MEGABYTE,
      max_msg_size: MAX_MESSAGE,
      max_msgs_per_subject: 10_000,
      max_age: 14 * DAY * NANOS_PER_MS,
    },
    {
      name: RECORDS,
      subjects: ['paraformer.records.>'],
      max_bytes: 256 * MEGABYTE,
      max_msg_size: MAX_MESSAGE,
      max_msgs_per_subject: 4,
      // A worker that writes too much is refused, and pushes out no record of others.
      discard: 'new' as const,
      max_age: 90 * DAY * NANOS_PER_MS,
    },
  ]
  for (const config of wanted) await manager.streams.info(config.name).catch(() => manager.streams.add(config))
}
