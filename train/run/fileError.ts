import { reason, UserError } from '../../engine/index.ts'

/** An error of the file system as one line that says what to do. */
export function fileError(path: string, error: unknown): UserError {
  const code = (error as { code?: string }).code ?? reason(error)
  return new UserError(`${path}: cannot be written (${code}); choose a folder that is writable and has space`)
}
