/** Characters that a terminal obeys instead of showing: control characters, line separators, marks of writing direction. */
const OBEYED = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu

/** Escapes text of files or their names (classes, paths, drivers) for a line of a terminal. */
export function printable(text: string): string {
  return text.replace(OBEYED, escaped)
}

/** Escapes text of several lines. */
export function printableLines(text: string): string {
  return text.replace(OBEYED, (character) => (character === '\n' || character === '\t' ? character : escaped(character)))
}

/** Prints a value as JSON. It escapes those characters that `JSON.stringify` leaves and a terminal obeys. */
export function printJson(value: unknown): void {
  console.log(printableLines(JSON.stringify(value, null, 2)))
}

/** Prints one line on stderr. */
export function say(text: string): void {
  process.stderr.write(`${printable(text)}\n`)
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
