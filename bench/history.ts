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
 * Version of the method of measurement. Method 1 left forward passes of layers and models out of what it replayed, so their
 * times cannot be compared.
 */
const METHOD = 2

/** One line of the history: a run of the bench on a device. */
export interface HistoryEntry {
  /** See `METHOD`; lines of method 1 have none. */
  method?: number
  date: string
  driver: string
  ceilings: BenchReport['ceilings']
  /** Median, p20 and p80 in milliseconds, by target. */
  times: Record<string, [median: number, p20: number, p80: number]>
}

/** The fields of a line that are read again. */
const ENTRY = fields({
  method: v.optional(count),
  date: string,
  times: mapOf(v.looseTuple([amount], 'a list of milliseconds')),
})

/** Targets whose times of method 1 cannot be compared. */
const FORWARD = /^(layers|models)\/\w+\/forward /

/** The last time that was kept for a target. */
export interface Previous {
  date: string
  median: number
}

/** Returns the default folder of the history: beside the sources in a clone, otherwise beside the training runs. */
export function defaultHistory(): string {
  return existsSync(join('bench', 'cli.ts')) ? join('bench', 'history') : join('runs', 'bench')
}

function fileOf(folder: string, device: string): string {
  return join(folder, `${device}.jsonl`)
}

/**
 * Reads the last measurement of every target on a device; none without a history.
 * @throws UserError for a history that cannot be read or parsed
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
    // A full disk or a killed process leaves a last line that is not whole.
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
 * @returns the path of its file
 * @throws UserError for a file that cannot be written
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
