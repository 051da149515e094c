import type { Reply } from '../../train/pendingCalls.ts'

interface Call {
  id: number
  name: string
  args: unknown[]
}

/** Answers the calls of the page. @param makeCalls makes the functions; it gets what tells the page something without being asked */
export function serve<C extends object, T>(makeCalls: (tell: (message: T) => void) => C): void {
  const calls = makeCalls((told) => postMessage({ told })) as Record<string, (...args: unknown[]) => Promise<unknown>>
  addEventListener('message', async ({ data: { id, name, args } }: MessageEvent<Call>) => {
    try {
      postMessage({ reply: { id, value: await calls[name]!(...args) } satisfies Reply<unknown> })
    } catch (error) {
      postMessage({ reply: { id, error } satisfies Reply<unknown> })
    }
  })
}
