import type { Answer } from '../peers/answer.ts'
import type { RunTask } from '../peers/runPeer.ts'
import { type Chromium, call } from './chromium.ts'

/** Runs each task in a page of its own. */
export function runPageIn(browser: Chromium): RunTask {
  return (task, onAnswer) => {
    let stop = () => {}
    const stopped = new Promise<string>((resolve) => {
      stop = () => resolve('was stopped')
    })
    const run = async (): Promise<string> => {
      const page = await browser.open((what) => onAnswer(what as Answer))
      const crashed = new Promise<string>((resolve) => page.once('crash', () => resolve('its page crashed')))
      const compared = call<void>(page, 'compare', task).then(
        () => 'its page ended early',
        (error: Error) => error.message,
      )
      const ended = await Promise.race([compared, crashed, stopped])
      // A page that hangs may never close, so nobody waits for it.
      page.close().catch(() => {})
      return ended
    }
    return { ended: run().catch((error: Error) => error.message), stop }
  }
}
