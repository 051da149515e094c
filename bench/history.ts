import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as v from 'valibot'
import { amount, count, fields, mapOf, parseJson, text as string } from '../engine/base/json.ts'
import { FileError, reason, UserError } from '../engine/index.ts'
import { fileError, makeFolder } from '../engine/platform/files.ts'
import { isJson, LineFile } from '../train/run/lines.ts'
import type { BenchReport } from './runBench.ts'

/**
 * How times are taken. Before 2, forward passes of layers and models were left out of what was replayed, and cannot be compared with.
 */
const METHOD = 2

/** One line of the history: a run on a device. */
export interface HistoryEntry {
  /** Absent: 1. */
  method?: number
  date: string
  driver: string
  ceilings: BenchReport['ceilings']
  /** Median, p20 and p80 in milliseconds, by target. */
  times: Record<string, [median: number, p20: number, p80: number]>
}

/** What is read of a line again. */
const ENTRY = fields({
  method: v.optional(count),
  date: string,
  times: mapOf(v.looseTuple([amount], 'a list of milliseconds')),
})

/** What method 1 did not time. */
const FORWARD = /^(layers|models)\/\w+\/forward /

/** What a result was before. */
export interface Previous {
  date: string
  median: number
}

/** Where runs are kept unless the user says otherwise: with the sources in a clone, else beside the training runs. */
export function defaultHistory(): string {
  return existsSync(join('bench', 'cli.ts')) ? join('bench', 'history') : join('runs', 'bench')
}

function fileOf(folder: string, device: string): string {
  return join(folder, `${device}.jsonl`)
}

/**
 * The last measurement of every target on a device.
 * @throws UserError when there is a history and it cannot be read
 */
export async function previousTimes(folder: string, device: string): Promise<Map<string, Previous>> {
  const path = fileOf(folder, device)
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if ((error as { code?: string }).code === 'ENOENT') return ''
    throw new UserError(`${path}: cannot be read (${reason(error)}); choose another --history`)
  })
  const found = new Map<string, Previous>()
  const lines = text.split('\n')
  for (const [i, line] of lines.entries()) {
    // What was not finished, on a full disk or by a killed process, has no line end.
    if (line.trim() === '' || (i === lines.length - 1 && !isJson(line))) continue
    const { method = 1, date, times } = entryOf(line, `${path}: line ${i + 1}`)
    for (const [id, [median]] of Object.entries(times)) {
      if (method >= METHOD || !FORWARD.test(id)) found.set(id, { date, median })
    }
  }
  return found
}

function entryOf(line: string, where: string): v.InferOutput<typeof ENTRY> {
  try {
    return parseJson(ENTRY, line, 'it')
  } catch (error) {
    throw new UserError(`${where} is no run of paraformer bench (${reason(error)}); remove it, or choose another --history`)
  }
}

/**
 * Adds a run to the history.
 * @returns the file
 * @throws UserError when it cannot be written
 */
export async function appendHistory(folder: string, { date, device, ceilings, results }: BenchReport): Promise<string> {
  const path = fileOf(folder, device.name)
  const entry: HistoryEntry = {
    method: METHOD,
    date,
    driver: device.driver,
    ceilings,
    times: Object.fromEntries(results.map(({ id, median, p20, p80 }) => [id, [median, p20, p80]])),
  }
  try {
    await makeFolder(folder)
    const lines = await LineFile.open(
      path,
      () => false,
      () => {},
    )
    lines.append(JSON.stringify(entry))
    await lines.close()
  } catch (error) {
    throw new UserError(`${(error instanceof FileError ? error : fileError(path, error)).message}; or use --no-history`)
  }
  return path
}
