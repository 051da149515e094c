import { kindOf } from '../../engine/base/kind.ts'
import { suggestion } from '../../engine/base/options.ts'
import { files, reason, UserError } from '../../engine/index.ts'
import { checkOneSetting, checkSettings, flagOf, SETTINGS, type SettingName, type Settings } from '../settings.ts'

/** Settings that may come from anywhere and are not checked together yet. */
export type SomeSettings = Partial<Record<SettingName, unknown>>

/** Bytes of the longest file of settings. */
const MAX_BYTES = 1 << 24

/**
 * Reads a JSON file of settings by their names, or the settings.json of a run.
 * @throws UserError in one line that names the file and the key
 */
export async function readConfigFile(path: string): Promise<SomeSettings> {
  const text = new TextDecoder().decode(await files.read(path, MAX_BYTES))
  const fail = (what: string) => new UserError(`${path}: ${what}`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw fail(`is not JSON (${reason(error)}); give an object such as {"dim": 64, "epochs": 3}`)
  }
  const takesObject = (what: string, value: unknown): Record<string, unknown> => {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
    throw fail(`${what} is ${kindOf(value)}; give an object such as {"dim": 64, "epochs": 3}`)
  }
  const file = takesObject('the whole', value)
  const settings = 'format' in file && 'settings' in file ? takesObject('settings', file.settings) : file
  for (const [name, value] of Object.entries(settings)) {
    if (!Object.hasOwn(SETTINGS, name)) {
      const known = Object.keys(SETTINGS)
      throw fail(`unknown setting ${kindOf(name)}${suggestion(name, known)}; known are ${known.join(', ')}`)
    }
    checkOneSetting(name as SettingName, value, `${path}: ${name}`)
  }
  return settings
}

/**
 * Completes settings of several sources, the later of which override the earlier.
 * @param below settings that a preset or a checkpoint gives
 * @param config the settings of a file, if there is one
 * @param flags the settings of the command line
 * @throws UserError in one line: which flag, or which file and key
 */
export function mergeSettings(
  below: readonly SomeSettings[],
  config: { path: string; settings: SomeSettings } | undefined,
  flags: SomeSettings,
): Settings {
  const fromFile = config?.settings ?? {}
  try {
    return checkSettings(Object.assign({}, ...below, fromFile, flags))
  } catch (error) {
    if (!config || !(error instanceof UserError)) throw error
    // Flags in the message that only the file gave become its keys.
    const named = Object.keys(fromFile).filter((name) => !Object.hasOwn(flags, name))
    const told = named.reduce(
      (text, name) => text.replaceAll(new RegExp(`${flagOf(name)}(?![\\w-])`, 'g'), name),
      error.message,
    )
    throw told === error.message ? error : new UserError(`${config.path}: ${told}`)
  }
}
