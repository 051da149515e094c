import { Command, InvalidArgumentError, Option } from 'commander'
import { TUNE, type Tune } from '../../engine/autotune/tune.ts'
import { UserError } from '../../engine/index.ts'
import { PRECISIONS } from '../../model/index.ts'
import { flagOf, SETTINGS, type SettingName } from '../settings.ts'

/**
 * Adds a flag for every setting of a run.
 * @param names the settings to add; default all. Help does not show their defaults, which are the caller's
 */
export function addSettings(command: Command, names?: readonly string[]): Command {
  for (const [name, setting] of Object.entries(SETTINGS)) {
    if (names && !names.includes(name)) continue
    const takes = setting.kind === 'boolean' ? '' : ` <${placeholder(setting.kind)}>`
    const fallback = !names && 'default' in setting && setting.kind !== 'boolean' ? ` (default: ${setting.default})` : ''
    const option = new Option(`${flagOf(name)}${takes}`, `${setting.help}${fallback}`)
    if (setting.kind === 'choice') option.choices([...setting.choices])
    else if (setting.kind === 'numbers') option.argParser(numbers)
    else if (setting.kind === 'whole' || setting.kind === 'number') option.argParser(number)
    command.addOption(option)
    if (setting.kind === 'boolean')
      command.addOption(new Option(`--no-${flagOf(name).slice(2)}`, `not ${flagOf(name)}, whatever the preset says`))
  }
  return command
}

/** Picks the settings that the user gave from parsed flags. */
export function givenSettings(flags: Record<string, unknown>): Partial<Record<SettingName, unknown>> {
  return Object.fromEntries(
    Object.entries(flags).filter(([name, value]) => Object.hasOwn(SETTINGS, name) && value !== undefined),
  )
}

/** Makes the flag `--adapter` of commands with a device. */
export function adapterOption(): Option {
  return new Option(
    '--adapter <name>',
    "gpu, lavapipe, swiftshader or part of an adapter's name (see `paraformer devices`); default: the fastest there is",
  ).env('PARAFORMER_ADAPTER')
}

/** Makes the flag `--precision` of commands that do not train. */
export function precisionOption(): Option {
  return new Option('--precision <name>', 'f32, or mixed: products and attention in float16 (needs shader-f16)')
    .choices([...PRECISIONS])
    .default('f32')
}

/** Makes the flag `--tune` of commands that run kernels. @param fallback what a command does without it */
export function tuneOption(fallback: Tune = 'cached'): Option {
  return new Option(
    '--tune <when>',
    'which variants of kernels run: off, the built-in choice; cached, those measured to be fastest on this device before; ' +
      `full, what was not measured is first, in a few seconds (default: ${fallback})`,
  ).choices([...TUNE])
}

/** Parses a number of any range. */
export function number(text: string): number {
  const value = Number(text)
  // Number() reads hexadecimal, octal and binary digits too.
  if (text.trim() === '' || Number.isNaN(value) || /^[+-]?0[box]/i.test(text.trim()))
    throw new InvalidArgumentError('It must be a number.')
  return value
}

/** Makes a parser of whole numbers from `least` to `max`. */
export function count(max: number, least = 1): (text: string) => number {
  return (text) => {
    const value = number(text)
    if (!(Number.isSafeInteger(value) && value >= least && value <= max)) {
      throw new InvalidArgumentError(`It must be a whole number from ${least} to ${max}.`)
    }
    return value
  }
}

/** Parses numbers with commas between them. */
export function numbers(text: string): number[] {
  return text.split(',').map(number)
}

function placeholder(kind: string): string {
  return { whole: 'n', number: 'x', numbers: 'x,y', text: 'path', choice: 'name' }[kind] ?? 'value'
}

/**
 * Makes a command that throws a UserError for bad flags, so that all mistakes of the user end the same way.
 * @param path the words after `paraformer` that call the command
 */
export function makeCommand(name: string, path = name === 'paraformer' ? '' : `${name} `): Command {
  return new Command(name)
    .configureOutput({ outputError: () => {} })
    .exitOverride((error) => {
      if (error.exitCode === 0) throw error
      const what = error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ')
      throw new UserError(`${what}; see paraformer ${path}--help`)
    })
    .allowExcessArguments(false)
    .showHelpAfterError(false)
}
