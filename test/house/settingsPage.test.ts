import { readFileSync, writeFileSync } from 'node:fs'
import { PRESETS } from '../../train/presets.ts'
import { SETTINGS } from '../../train/settings.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('docs/settings.md')
const PAGE = 'docs/settings.md'

test('the page of the settings is what the sources say; UPDATE_PAGE=1 writes it anew', () => {
  const page = settingsPage()
  if (process.env.UPDATE_PAGE) writeFileSync(PAGE, page)
  if (readFileSync(PAGE, 'utf8') !== page) throw new Error(`${PAGE} is not up to date`)
})

/** Writes the page: a table of all settings and a table of all presets. */
function settingsPage(): string {
  const lines = [
    '# Settings',
    '',
    'Every setting is a flag of `train` (`--batch-size 128`), a key of `--config FILE` and of the arms of a study (`batchSize: 128`), and a key of the object that `checkSettings()` takes.',
    'Presets come before `--config`, and flags after both. A flag that takes nothing has an opposite, such as `--no-flip`, which overrides a preset. Studies choose by validation images; test images decide nothing.',
    '',
    '| setting | flag | takes | default | is |',
    '| --- | --- | --- | --- | --- |',
    ...Object.entries(SETTINGS).map(([name, setting]) => {
      const words: string[] = [`\`${name}\``, `\`--${flagOf(name)}\``, takes(setting), defaultOf(setting), setting.help]
      return `| ${words.map((word) => word.replaceAll('|', '\\|').replaceAll('<', '&lt;')).join(' | ')} |`
    }),
    '',
    '## Presets',
    '',
    '| preset | for | settings |',
    '| --- | --- | --- |',
    ...Object.entries(PRESETS).map(([name, { help, settings }]) => {
      const values = Object.entries(settings).map(([key, value]) => `${key} ${JSON.stringify(value)}`)
      return `| \`${name}\` | ${help} | ${values.join(', ')} |`
    }),
  ]
  return `${lines.join('\n')}\n`
}

function flagOf(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

function takes(setting: { kind: string; min?: number; max?: number; choices?: readonly string[] }): string {
  if (setting.choices) return setting.choices.map((choice) => `\`${choice}\``).join(' ')
  const kind = {
    whole: 'a whole number',
    number: 'a number',
    boolean: 'nothing',
    text: 'text',
    numbers: 'numbers, separated by commas',
  }[setting.kind]
  return setting.min === undefined ? kind! : `${kind}, ${setting.min} to ${setting.max}`
}

function defaultOf(setting: object): string {
  return 'default' in setting ? `\`${setting.default}\`` : ''
}

run()
