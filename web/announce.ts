import { byId } from './dom.ts'

/** Milliseconds in which sentences are gathered. */
const WAIT = 400

const waiting = new Map<string, string>()
let timer: ReturnType<typeof setTimeout> | undefined

/**
 * Says a sentence to screen readers. Text that changes many times a second is shown alone, without being said.
 * @param about what it is about: a later sentence takes the place of one that still waits
 */
export function announce(text: string, about = ''): void {
  waiting.delete(about)
  waiting.set(about, text)
  clearTimeout(timer)
  timer = setTimeout(() => {
    byId('said').textContent = [...waiting.values()].join(' ')
    waiting.clear()
  }, WAIT)
}
