import type { LinkSettings } from './namespaces.ts'

/** Bytes of a packet that are data, and all of its bytes, at an MTU of 1500. */
const SEGMENT = 1448
const PACKET = 1500
/** Packets of the first flight. */
const INITIAL_WINDOW = 10
/** The least time after which Linux sends again what was not acknowledged, beyond the round trip, in milliseconds. */
const MIN_RTO = 200
/** Packets acknowledged after a missing one that show its loss at once. */
const REORDERING = 3

/** An acknowledgement on its way. */
interface Ack {
  packet: number
  order: number
  sentAt: number
  at: number
  lost: boolean
}

/**
 * One direction of a TCP connection, simulated packet by packet: Reno with SACK as Linux has it, that is with loss detection by RACK (RFC 8985:
 * three later packets, or a quarter of a round trip), a tail loss probe after two round trips, a timeout of at least 200 ms, and
 * a window that stays in pauses (`tcp_slow_start_after_idle` 0). Every packet and acknowledgement is lost with the link's probability. Delayed acknowledgements are
 * left out. Times are milliseconds.
 */
export class TcpFlow {
  readonly #link: LinkSettings
  readonly #random: () => number
  #window = INITIAL_WINDOW
  #threshold = Number.POSITIVE_INFINITY
  #lastAt = Number.NEGATIVE_INFINITY
  /** When the link has sent what it was given. */
  #free = 0

  /** @param random gives numbers from 0 to 1 */
  constructor(link: LinkSettings, random: () => number) {
    this.#link = link
    this.#random = random
  }

  /** Sends bytes from a moment on, after all earlier ones. @returns the moment when the other side has all of them */
  send(from: number, bytes: number): number {
    const count = Math.max(1, Math.ceil(bytes / SEGMENT))
    const state = new Array<'new' | 'out' | 'lost' | 'known'>(count).fill('new')
    const order = new Array<number>(count).fill(-1)
    const sentAt = new Array<number>(count).fill(0)
    const arrived = new Array<number>(count).fill(Number.POSITIVE_INFINITY)
    const acks: Ack[] = []
    const unheard: Ack[] = []
    const lost: number[] = []
    let [now, next, orders, out, known, newest, later] = [from, 0, 0, 0, 0, -1, 0]
    /** The number of the last packet sent when a loss was found; the window grows again when all up to it are known. */
    let recovery = -1
    let probed = false
    let reorderingEnds = Number.POSITIVE_INFINITY
    /** The most packets that were on their way at once. */
    let most = 0
    const roundTrip = 2 * this.#link.delay + (this.#link.rate > 0 ? (PACKET * 8) / (this.#link.rate * 1000) : 0)
    const transmit = (packet: number) => {
      const { delay, loss, rate } = this.#link
      state[packet] = 'out'
      order[packet] = orders++
      sentAt[packet] = now
      out++
      most = Math.max(most, out)
      this.#lastAt = now
      if (this.#random() < loss) return
      this.#free = Math.max(now, this.#free) + (rate > 0 ? (PACKET * 8) / (rate * 1000) : 0)
      arrived[packet] = Math.min(arrived[packet]!, this.#free + delay)
      const ack = { packet, order: order[packet]!, sentAt: now, at: this.#free + 2 * delay, lost: this.#random() < loss }
      acks.push(ack)
    }
    const reduce = () => {
      this.#threshold = Math.max(2, this.#window / 2)
      this.#window = this.#threshold
      recovery = next - 1
    }
    const isOver = () => recovery >= 0 && state.slice(0, recovery + 1).every((one) => one === 'known')
    const findLosses = (trip: number) => {
      reorderingEnds = Number.POSITIVE_INFINITY
      const wait = recovery >= 0 || later >= REORDERING ? 0 : roundTrip / 4
      for (let packet = 0; packet < next; packet++) {
        if (state[packet] !== 'out' || order[packet]! >= newest) continue
        const deadline = sentAt[packet]! + trip + wait
        if (now < deadline) {
          reorderingEnds = Math.min(reorderingEnds, deadline)
          continue
        }
        state[packet] = 'lost'
        out--
        lost.push(packet)
        if (recovery < 0) {
          reduce()
          transmit(lost.shift()!)
        }
      }
    }
    /** When the window was full last: acknowledgements of a round trip after it make it grow. */
    let filledAt = Number.NEGATIVE_INFINITY
    while (known < count) {
      while (out < this.#window && (lost.length > 0 || next < count)) transmit(lost.length > 0 ? lost.shift()! : next++)
      if (out >= Math.floor(this.#window)) filledAt = now
      const ack = acks[0]
      if (reorderingEnds < (ack?.at ?? Number.POSITIVE_INFINITY)) {
        now = reorderingEnds
        findLosses(roundTrip)
        continue
      }
      if (!ack) {
        // Nothing more comes: first a probe, then a timeout. For a lone packet the probe waits as long, but does not empty the window.
        const timeout = roundTrip + Math.max(MIN_RTO, roundTrip)
        const probe = Math.min(timeout, 2 * roundTrip + (out === 1 ? MIN_RTO : 2))
        const begins = Math.max(this.#lastAt, now)
        if (!probed) {
          probed = true
          now = begins + probe
          const packet = next < count ? next++ : lastOut(state)
          if (state[packet] === 'out') {
            out--
            if (recovery < 0) this.#window = this.#threshold = Math.max(2, this.#window / 2)
          }
          transmit(packet)
          continue
        }
        now = begins + timeout
        this.#threshold = Math.max(2, this.#window / 2)
        this.#window = 1
        recovery = -1
        probed = false
        for (let packet = 0; packet < next; packet++) if (state[packet] === 'out') [state[packet], out] = ['lost', out - 1]
        lost.splice(0, lost.length, ...state.flatMap((one, packet) => (one === 'lost' ? [packet] : [])))
        continue
      }
      acks.shift()
      now = Math.max(now, ack.at)
      // What a lost acknowledgement said the next one says too, unless none follows.
      unheard.push(ack)
      if (ack.lost) continue
      // A window that the sender does not fill does not grow; in slow start half of it is enough.
      const limited = this.#window < this.#threshold ? this.#window < 2 * most : now - filledAt <= 1.01 * roundTrip
      for (const { packet, order: of } of unheard.splice(0)) {
        newest = Math.max(newest, of)
        if (state[packet] === 'known') continue
        if (state[packet] === 'out') out--
        else if (state[packet] === 'lost') lost.splice(lost.indexOf(packet), 1)
        state[packet] = 'known'
        known++
        probed = false
        const first = state.findIndex((one, i) => i < next && one !== 'known')
        later = first >= 0 && first < packet ? later + 1 : 0
        if (recovery < 0 && limited) this.#window += this.#window < this.#threshold ? 1 : 1 / this.#window
      }
      findLosses(now - ack.sentAt)
      if (isOver()) recovery = -1
    }
    return Math.max(...arrived)
  }
}

function lastOut(state: readonly string[]): number {
  const found = state.lastIndexOf('out')
  return found >= 0 ? found : state.lastIndexOf('lost')
}
