import { optionalDependencies } from '../../package.json'
import { reason, UserError } from '../base/errors.ts'

/**
 * Waits for the import of a package that an installation may lack (`npm install --omit=optional`).
 * @param effect what cannot be done without it
 * @param or another command that helps
 * @throws UserError that says how to install the package, with the failure as its cause
 */
export async function optional<T>(
  loading: Promise<T>,
  name: keyof typeof optionalDependencies,
  effect: string,
  or = '',
): Promise<T> {
  try {
    return await loading
  } catch (error) {
    const why = reason(error).replace(/ imported from .*/s, '')
    const command = `npm install ${name}@${optionalDependencies[name]}`
    throw new UserError(`${effect}, since the package ${name} does not load (${why}); run ${command}${or}`, { cause: error })
  }
}
