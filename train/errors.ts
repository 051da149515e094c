/** Bad input from the user (a file, a flag, a value). The message is one line that says what is wrong and what to do. */
export class UserError extends Error {
  override readonly name = 'UserError'
}

/** The message of anything thrown, on one line. */
export function reason(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\s*\n\s*/g, ' ')
}
