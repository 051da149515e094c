// The HTML file of the report: that it stands alone, that it can be read by all, and that nothing of a file becomes markup.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UserError } from '../../engine/base/errors.ts'
import { reportCommand } from '../../train/cli/report.ts'
import { makeReport, type Report } from '../../train/study/report/index.ts'
import { escapeHtml, html, shown } from '../../train/study/report/markup.ts'
import { DARK, LIGHT, STYLE, type Theme } from '../../train/study/report/theme.ts'
import { suite } from '../harness/suite.ts'
import { rejects } from '../train/userError.ts'
import { compression, EXPANSION, writeNestedRun, writeRun, writeStudy } from './reportFixtures.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-report-page-'))
const { test, run } = suite('report: page')
const place = (name: string) => join(work, name)

const EVIL = `</title></script></svg>"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\u202e`
const RULE = { claim: `claim ${EVIL}`, compare: ['a', 'b'], better: 'higher' }
const SEEDS = [0.8, 0.81, 0.79, 0.805, 0.8025]

writeRun(place('flat'))
writeFileSync(join(place('flat'), 'compression.json'), JSON.stringify(compression(3)))
writeFileSync(join(place('flat'), 'expansion.json'), JSON.stringify(EXPANSION))
writeRun(place('other'), { branches: 1, accuracy: 0.7, settings: { lr: 0.01 } })
writeNestedRun(place('nested'))
writeFileSync(join(place('nested'), 'run.json'), '{"format": 1, "se')
writeStudy(place('study'), {
  arms: { a: SEEDS.map((value, i) => value + 0.1 + 0.001 * (i % 2)), b: SEEDS, [`c ${EVIL}`]: SEEDS },
  rules: [RULE, { ...RULE, claim: 'null', compare: ['b', `c ${EVIL}`] }],
  statement: { hypothesis: EVIL, prediction: EVIL },
  deviations: [{ at: EVIL, reason: EVIL, changed: [EVIL] }],
  result: { adapter: EVIL, driver: EVIL, commit: EVIL },
})
const all = ['study', 'flat', 'other', 'nested'].map(place)
let made: Promise<Report> | undefined
const report = () => {
  made ??= makeReport(all)
  return made
}

/** Matches of a pattern in the page, without what is embedded for download. */
async function matches(pattern: RegExp): Promise<RegExpMatchArray[]> {
  const { html } = await report()
  return [...html.replace(/(<script type="text\/plain" id="[\w.]+">)[\w+/=]*<\/script>/g, '$1').matchAll(pattern)]
}

test('it has every figure, and says what it left out', async () => {
  const { figures, notes } = await report()
  const titles = (await matches(/<h3 id="[^"]*">([^<]*)<\/h3>/g)).map(([, title]) => title!)
  if (titles.length !== figures) throw new Error(`${titles.length} titles of ${figures} figures`)
  const expected = [
    ...['Every seed: test accuracy', 'Paired differences', 'Accuracy over parameters on fashion-mnist'],
    ...['Accuracy over FLOPs of an image on fashion-mnist', 'Accuracy over training FLOPs on fashion-mnist'],
    ...['mini-batches', 'training FLOPs', 'seconds of training'].flatMap((axis) => [
      `Test: prefixes against ${axis}`,
      `Test: whole models against ${axis}`,
    ]),
    ...['Training: prefixes against mini-batches', 'Violations of progressive approximation'],
    ...['Compression of flat: accuracy over FLOPs of an image', 'Compression of flat: latency of prefixes'],
    'Expansion of flat: what is learned and what is forgotten',
  ]
  const missing = expected.filter((title) => !titles.includes(title))
  if (missing.length > 0) throw new Error(`${missing.join(', ')} of ${titles.join(', ')}`)
  for (const what of [/run\.json is not JSON: .*; left out/, /nested: has neither settings\.json nor a checkpoint/])
    if (!notes.some((note) => what.test(note))) throw new Error(`${what} is not in ${notes.join('; ')}`)
  const listed = (await matches(/<li>([^<]*run\.json is not JSON[^<]*)<\/li>/g)).length
  if (listed !== 1) throw new Error('the page does not show the note')
})

test('verdicts come first', async () => {
  const { html } = await report()
  const verdicts = (await matches(/class="verdict ([\w-]+)"/g)).map(([, verdict]) => verdict)
  if (verdicts.join() !== 'supported,inconclusive') throw new Error(verdicts.join())
  if (!(html.indexOf('class="verdict') < html.indexOf('<svg'))) throw new Error('figures come before verdicts')
})

test('it loads nothing: no request leaves the file', async () => {
  const tags = (await matches(/<[a-z][^>]*>/gi)).map(([tag]) => tag).join('\n')
  const links = [...tags.matchAll(/\b(?:src|srcset|href|data|action|poster|background)\s*=\s*["']?([^"'\s>]*)/gi)]
  const outside = links.map(([, target]) => target!).filter((target) => !/^#[\w-]+$/.test(target))
  if (links.length === 0 || outside.length > 0) throw new Error(`${links.length} links lead to ${outside.join(', ')}`)
  const addresses = [...tags.matchAll(/https?:[^"'\s>]*/gi)].map(([address]) => address)
  if (addresses.some((address) => !/^http:\/\/www\.w3\.org\/(2000\/svg|1999\/xlink)$/.test(address)))
    throw new Error(addresses.join())
  const loads = await matches(
    /<(?:link|iframe|object|embed|img|image|use|base|audio|video)\b|@import|(?<!Object)url\(|\bfetch\(|XMLHttpRequest|import\(/gi,
  )
  if (loads.length > 0) throw new Error(`loads by ${loads.map(([text]) => text).join(', ')}`)
  const policies = await matches(/http-equiv="Content-Security-Policy" content="default-src 'none';/g)
  if (policies.length !== 1) throw new Error('it has no policy')
})

test('nothing of a file becomes markup', async () => {
  const scripts = await matches(/<script(?! type="text\/plain" id="[\w.]+">)/g)
  if (scripts.length !== 1) throw new Error(`${scripts.length} scripts`)
  if ((await matches(/<img|onerror=alert\(2\)>|\u202e/g)).length > 0) throw new Error('markup of a file is in the page')
  const shown = await matches(/&lt;script&gt;alert\(1\)/g)
  if (shown.length < 10) throw new Error(`the texts are shown ${shown.length} times`)
  if (html`<p title="${EVIL}">${EVIL}</p>`.text.split('<').length !== 3) throw new Error('a template lets markup through')
  if (escapeHtml(`<a b="c" d='e'>&`) !== '&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;') throw new Error('escapes')
})

test('headings are in order, ids are unique, and every figure has a name, a description, a table and its command', async () => {
  const { figures } = await report()
  const levels = (await matches(/<h([1-6])/g)).map(([, level]) => Number(level))
  levels.forEach((level, i) => {
    if (i === 0 ? level !== 1 : level > levels[i - 1]! + 1) throw new Error(`h${level} comes after h${levels[i - 1]}`)
  })
  if (levels.filter((level) => level === 1).length !== 1) throw new Error('not one h1')
  if ((await matches(/<g[^>]* (role|aria-\w+)=/g)).length > 0) throw new Error('shapes inside a figure have roles')
  const ids = (await matches(/\bid="([^"]*)"/g)).map(([, id]) => id!)
  const twice = ids.filter((id, i) => ids.indexOf(id) !== i)
  if (twice.length > 0) throw new Error(`used twice: ${twice.join(', ')}`)
  for (const [, id] of await matches(/\b(?:aria-labelledby|aria-describedby|href)="#?([^"]*?)"/g))
    if (!ids.includes(id!)) throw new Error(`${id} is not there`)
  const each = await matches(
    /<figure aria-labelledby="[^"]+">\s*<svg[^>]* role="img" aria-labelledby="[^"]+" aria-describedby="[^"]+"><title[^>]*>[^<]+<\/title><desc[^>]*>[^<]+<\/desc>[\s\S]*?<figcaption>[^<]+<\/figcaption>\s*<pre[^>]*><code>npx paraformer report [^<]+<\/code>[\s\S]*?<details><summary>Table<\/summary>[\s\S]*?<tbody><tr>/g,
  )
  if (each.length !== figures) throw new Error(`${each.length} of ${figures} figures are whole`)
})

test('figures draw every seed, and published accuracies as lines', async () => {
  const svg = (await matches(/<svg[\s\S]*?<\/svg>/g)).map(([text]) => text)
  const seeds = svg.find((text) => text.includes('Every seed'))!
  const [points] = /<g class="mark-symbol role-mark layer_0_marks"[\s\S]*?<\/g>/.exec(seeds)!
  if (points.split('<path').length - 1 !== 15) throw new Error(`${points.split('<path').length - 1} points of 15 runs`)
  const bars = svg.filter((text) => text.includes('ViT, 6 layers, 0.21 M: 92.3 %'))
  if (bars.length !== 6) throw new Error(`published accuracies are in ${bars.length} figures of 6`)
  for (const text of svg)
    if (/NaN|undefined|Infinity/.test(text)) throw new Error(/.{60}(NaN|undefined|Infinity).{20}/.exec(text)![0])
})

test('the same folders give the same file', async () => {
  if ((await makeReport(all)).html !== (await report()).html) throw new Error('two reports differ')
})

test('texts and lines have enough contrast in both themes, and both are in the style', () => {
  for (const theme of [LIGHT, DARK]) {
    const { page, raised, ink, muted, accent, good, bad, open, arms, prefixes } = theme
    const lines = [...arms, ...prefixes].map((color) => [color, page, 3] as const)
    const texts = [ink, muted, accent, good, bad, open].flatMap((color) => [
      [color, page, 4.5] as const,
      [color, raised, 4.5] as const,
    ])
    for (const [color, on, least] of [...lines, ...texts]) {
      if (!(contrast(color, on) >= least)) throw new Error(`${color} on ${on}: ${contrast(color, on)}`)
    }
  }
  const dark = (theme: Theme) => STYLE.split(`--page:${theme.page}`).length - 1
  if (dark(LIGHT) !== 1 || dark(DARK) !== 2) throw new Error('a theme is missing')
  if (!STYLE.includes('prefers-color-scheme:dark')) throw new Error('the system has no say')
})

/** Contrast of two colours (WCAG 2.2). */
function contrast(a: string, b: string): number {
  const luminance = (color: string) => {
    const [red, green, blue] = [1, 3, 5].map((at) => {
      const value = Number.parseInt(color.slice(at, at + 2), 16) / 255
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!
  }
  const [dim, bright] = [luminance(a), luminance(b)].sort((x, y) => x - y)
  return (bright! + 0.05) / (dim! + 0.05)
}

test('numbers are short, and what is no number says so', () => {
  const found = [0.123456789, 12, 7_296_586, 2.5e15, Number.NaN, undefined, true, 0].map(shown)
  const expected = ['0.12346', '12', '7.297 M', '2.500 P', 'not a number', '–', 'yes', '0']
  if (found.join() !== expected.join()) throw new Error(found.join())
})

/** Runs the command in this process, with its output left out. */
async function command(...args: string[]): Promise<string> {
  const { log } = console
  const { write } = process.stderr
  const lines: string[] = []
  console.log = (text: string) => void lines.push(text)
  process.stderr.write = () => true
  try {
    await reportCommand().parseAsync(args, { from: 'user' })
  } finally {
    console.log = log
    process.stderr.write = write
  }
  return lines.join('\n')
}

test('the command writes the file into the folder of a run, and tables beside it', async () => {
  const data = place('data')
  const said = await command(place('flat'), '--data', data)
  if (!said.includes(join(place('flat'), 'report.html'))) throw new Error(said)
  const names = ['claims', 'compression', 'curves', 'expansion', 'prefixes', 'runs'].flatMap((name) => [
    `${name}.csv`,
    `${name}.jsonl`,
  ])
  if (readdirSync(data).sort().join() !== names.join()) throw new Error(readdirSync(data).join())
  const lines = readFileSync(join(data, 'curves.jsonl'), 'utf8').trim().split('\n')
  if (lines.length !== 27 || JSON.parse(lines[0]!).loss !== 2) throw new Error(`${lines.length} ${lines[0]}`)
  const rows = readFileSync(join(data, 'runs.csv'), 'utf8').split('\r\n')
  if (!/^study,arm,seed,/.test(rows[0]!) || !/^,flat,3,fashion-mnist,/.test(rows[1]!)) throw new Error(rows.join('\n'))
  const page = readFileSync(join(place('flat'), 'report.html'), 'utf8')
  const [, encoded] = /<script type="text\/plain" id="curves\.jsonl">([^<]*)</.exec(page)!
  if (Buffer.from(encoded!, 'base64').toString() !== readFileSync(join(data, 'curves.jsonl'), 'utf8'))
    throw new Error('the download differs')
  const result = JSON.parse(await command(place('flat'), place('other'), '--out', place('both.html'), '--json'))
  if (result.report !== place('both.html') || !existsSync(result.report) || result.figures < 8)
    throw new Error(JSON.stringify(result))
})

test('bad input ends in one line, and an input is not overwritten', async () => {
  await rejects(command(place('none')), /none: no such folder; name a folder/, UserError)
  await rejects(command(), /missing required argument 'folders'; see paraformer report --help/, UserError)
  const metrics = join(place('flat'), 'metrics.jsonl')
  const before = readFileSync(metrics, 'utf8')
  await rejects(command(place('flat'), '--out', metrics), /--out .*metrics\.jsonl: is the file of the input as well/, UserError)
  if (readFileSync(metrics, 'utf8') !== before) throw new Error('the input is changed')
  await rejects(command(place('flat'), '--out', work), /is a folder; name a file/)
})

test('ends', () => rmSync(work, { recursive: true }))

run()
