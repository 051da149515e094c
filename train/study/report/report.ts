import { join } from 'node:path'
import { files } from '#platform'
import { acrossDatasets, armsOf, summarize } from './arms.ts'
import { attentionFigures } from './attention.ts'
import { decide } from './claims.ts'
import { reportCommandLine, studyCommand, trainCommand } from './commands.ts'
import { differenceFigure, seedFigure } from './comparisons.ts'
import { compressionFigures } from './compression.ts'
import { costFigures } from './costs.ts'
import { curveFigures } from './curves.ts'
import { csv, jsonl, type Table } from './data.ts'
import { expansionFigures } from './expansion.ts'
import type { Figure } from './figure.ts'
import { type Drawn, renderPage, type Section } from './page.ts'
import type { Run } from './record.ts'
import { loadVega } from './render.ts'
import { readFolder, type StudyRecord } from './studyFolder.ts'
import { acrossTable, armTable, dataTables, provenance, settingsTable } from './tables.ts'
import { violationFigure } from './violations.ts'

/** A report before it is written. */
export interface Report {
  html: string
  /** Tables of everything that it shows, by name. */
  data: Record<string, Table>
  /** The files and values that were left out, and why. */
  notes: string[]
  figures: number
}

type Undrawn = Omit<Section, 'figures'> & { figures: readonly Figure[]; runs: readonly Run[] }

/**
 * Makes the report of run folders and study folders: a pure function of their files.
 * @throws UserError in one line for a folder that is missing, that holds neither, or that a newer version wrote
 */
export async function makeReport(paths: readonly string[]): Promise<Report> {
  const notes: string[] = []
  const note = (text: string) => notes.push(text)
  const studies: StudyRecord[] = []
  const runs: Run[] = []
  for (const path of paths) {
    const found = await readFolder(path, note)
    if ('runs' in found) studies.push(found)
    else runs.push(found)
  }
  const command = reportCommandLine(paths)
  const undrawn = [
    ...studies.map((study, i) => studySection(study, `study-${i + 1}`, command)),
    ...(runs.length > 0 ? [runSection(distinct(runs), command)] : []),
  ]
  const draw = await loadVega()
  const sections: Section[] = []
  for (const section of undrawn) {
    const figures: Drawn[] = []
    for (const figure of section.figures) figures.push({ ...figure, svg: await draw(figure.spec) })
    sections.push({ ...section, figures })
  }
  const across = acrossDatasets(studies)
  const tables = across.length > 0 ? [['Interquartile mean over the runs of all data sets', acrossTable(across)] as const] : []
  const data = dataTables(undrawn)
  const html = renderPage({ title: `Report: ${titleOf(studies, runs)}`, sections, notes, tables, data })
  return { html, data, notes, figures: sections.reduce((sum, { figures }) => sum + figures.length, 0) }
}

/** Writes a report, and its tables as CSV and JSONL into a folder. @throws FileError in one line */
export async function writeReport({ html, data }: Report, path: string, folder?: string): Promise<void> {
  await files.write(path, html)
  if (folder === undefined) return
  for (const [name, table] of Object.entries(data)) {
    await files.write(join(folder, `${name}.csv`), csv(table))
    await files.write(join(folder, `${name}.jsonl`), jsonl(table))
  }
}

function titleOf(studies: readonly StudyRecord[], runs: readonly Run[]): string {
  if (studies.length === 1 && runs.length === 0) return `study ${studies[0]!.title}`
  if (studies.length === 0) return runs.length === 1 ? `run ${runs[0]!.arm}` : `${runs.length} runs`
  return `${studies.length} ${studies.length === 1 ? 'study' : 'studies'}${runs.length > 0 ? ` and ${runs.length} runs` : ''}`
}

/** Tells runs whose folders have one name apart by their paths. */
function distinct(runs: readonly Run[]): Run[] {
  return runs.map((run) => (runs.filter(({ arm }) => arm === run.arm).length > 1 ? { ...run, arm: run.folder! } : run))
}

function studySection(study: StudyRecord, id: string, command: string): Undrawn {
  const { title, statement, registered, runs, descriptions, seeds } = study
  const metric = statement.metric ?? 'testAccuracy'
  const claims = decide(study)
  const summaries = armsOf(runs).map((group) => summarize(group, metric))
  const stated = Object.entries({
    Hypothesis: statement.hypothesis,
    Prediction: statement.prediction,
    Metric: metric,
    'Equal in all arms': statement.budget,
    Seeds: seeds?.join(', '),
    Registered: registered && `${registered.at}, hash ${registered.hash.slice(0, 16)}`,
  }).filter((field): field is [string, string] => field[1] !== undefined && field[1] !== '')
  const deviations = (registered?.deviations ?? []).map(
    ({ at, reason, changed }) => `${at} ${changed.join(', ')} after registration: ${reason}`,
  )
  const made = studyCommand(study)
  return {
    ...{ id, title: `Study ${title}`, stated, claims, deviations, command, made: made === undefined ? [] : [made], runs },
    figures: [seedFigure(summaries, metric), differenceFigure(claims, metric), ...shared(runs)].filter(isFigure),
    arms: summaries.length > 0 ? armTable(summaries, metric, descriptions) : undefined,
    tables: tablesOf(runs),
  }
}

function runSection(runs: readonly Run[], command: string): Undrawn {
  const figures = shared(runs).filter(isFigure)
  // Runs of studies and expansions are made by other commands.
  const made = runs
    .filter(({ settings, result }) => Object.keys(settings).length > 0 && result.arm === undefined)
    .map(trainCommand)
  const title = runs.length === 1 ? 'Run' : 'Runs'
  return {
    id: 'runs',
    title,
    stated: [],
    claims: [],
    deviations: [],
    command,
    made,
    runs,
    arms: undefined,
    figures,
    tables: tablesOf(runs),
  }
}

/** Makes the figures that runs of any kind have. */
function shared(runs: readonly Run[]): (Figure | undefined)[] {
  const done = runs.flatMap(({ arm, seed, study, compression, expansion }) => {
    const name = study === undefined || seed === undefined ? arm : `${arm}, seed ${seed}`
    return [
      ...(compression ? compressionFigures(name, compression) : []),
      ...(expansion ? expansionFigures(name, expansion) : []),
    ]
  })
  return [...curveFigures(runs), ...costFigures(runs), violationFigure(runs), ...attentionFigures(runs), ...done]
}

const isFigure = (figure: Figure | undefined): figure is Figure => figure !== undefined

function tablesOf(runs: readonly Run[]): (readonly [string, Table])[] {
  const tables: (readonly [string, Table])[] = [
    [armsOf(runs).length > 1 ? 'Settings that differ' : 'Settings', settingsTable(runs)],
    ['Where and how the runs ran', provenance(runs)],
  ]
  return tables.filter(([, { rows }]) => rows.length > 0)
}
