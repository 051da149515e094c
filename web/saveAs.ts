import { element } from './dom.ts'

/** Milliseconds after which a browser has taken a file that it saves. */
const TAKEN = 10_000

/** Saves bytes as a file of the visitor's. */
export function saveAs(name: string, bytes: Uint8Array): void {
  const link = element('a', { download: name, href: URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>])) })
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), TAKEN)
}
