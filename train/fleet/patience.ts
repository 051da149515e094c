/** Milliseconds between tries while the server does not answer. */
const PAUSE = 500
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
