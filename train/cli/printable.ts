/** What a terminal obeys instead of showing it: control characters, line separators, marks that turn the direction of writing. */
const OBEYED = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu

/** Text that comes from files or their names (classes, paths, drivers), for a line of a terminal: what it would obey is escaped. */
export function printable(text: string): string {
  return text.replace(OBEYED, escaped)
}

/** The same for text of several lines. */
export function printableLines(text: string): string {
  return text.replace(OBEYED, (character) => (character === '\n' || character === '\t' ? character : escaped(character)))
}

/** Prints a value as JSON. `JSON.stringify` alone leaves some of what a terminal obeys as it is, which JSON can escape too. */
export function printJson(value: unknown): void {
  console.log(printableLines(JSON.stringify(value, null, 2)))
}

/** Says something in one line on stderr. */
export function say(text: string): void {
  process.stderr.write(`${printable(text)}\n`)
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
