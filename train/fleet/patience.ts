import { UserError } from '../../engine/base/errors.ts'

/** Milliseconds between tries while the server does not answer. */
const PAUSE = 500
/** Milliseconds that an answer to a request, 128 kB at most, may take. */
export const ANSWER = 30_000
/** The names of errors of a server that is away, or that has begun again and is not ready. */
const AWAY = [
  'TimeoutError',
  'RequestError',
  'NoRespondersError',
  'JetStreamApiError',
  'JetStreamStatusError',
  'JetStreamNotEnabled',
]

/** Asks again and again until the server answers. @throws what is no matter of waiting, such as a closed connection or a refusal */
export async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (!AWAY.includes((error as Error).name)) throw error
      await pause()
    }
  }
}

/** Waits until it is time to ask again. */
export function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PAUSE))
}

/**
 * Waits for an answer for half a minute: what a server sent before it was killed may be lost, and the client would wait for it for ever.
 * @throws UserError that says what did not arrive
 */
export async function within<T>(what: string, answer: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new UserError(`${what}: nothing arrived for ${ANSWER / 1000} s`)), ANSWER)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}
