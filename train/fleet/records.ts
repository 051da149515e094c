import { parseJson } from '../../engine/base/json.ts'
import { UserError } from '../../engine/index.ts'
import { FORMAT } from '../run/format.ts'
import { canonical } from '../study/plan/canonical.ts'
import { MAX_MESSAGE, type Result, type Saved, STORED_RECORD, type StoredRecord } from './messages.ts'
import { RECORDS, recordSubject } from './names.ts'
import type { FleetStore } from './store.ts'

/** The run that a record is about. */
interface Run {
  /** The name of the study's folder. */
  folder: string
  key: string
}

/** The entry of a run names files that the worker did not record, or two workers recorded different results. */
export class ForgedError extends UserError {}

/**
 * Records under a worker's own name what it stored for a run. The server lets no other worker publish there, and no worker remove a record.
 * @returns the number of the record
 */
export async function writeRecord({ streams }: FleetStore, { folder, key }: Run, record: StoredRecord): Promise<number> {
  const { seq } = await streams.publish(
    recordSubject(record.worker, folder, key),
    JSON.stringify({ ...record, format: FORMAT }),
  )
  return seq
}

/** Sees that the worker itself recorded what an entry says that it stored. @throws ForgedError otherwise */
export async function checkRecord(store: FleetStore, { folder, key }: Run, stored: Saved | Result): Promise<void> {
  const { record: seq, ...claimed } = stored
  const { worker, attempt } = stored
  const found = await store.manager.streams.getMessage(RECORDS, { seq })
  const what = `attempt ${attempt} of ${worker}`
  if (found?.subject !== recordSubject(worker, folder, key))
    throw new ForgedError(`${worker} has no record of what the entry says that it stored; another worker wrote the entry`)
  if (canonical(read(found.data, what)) !== canonical(claimed))
    throw new ForgedError(`what the entry says about ${what} is not what ${worker} recorded; another worker changed the entry`)
}

/** Sees that no other worker recorded another model as the result of a run. @throws ForgedError otherwise */
export async function checkOnlyResult(store: FleetStore, { folder, key }: Run, result: Result): Promise<void> {
  const { state } = await store.manager.streams.info(RECORDS, { subjects_filter: recordSubject('*', folder, key) })
  for (const subject of Object.keys(state.subjects ?? {})) {
    if (subject === recordSubject(result.worker, folder, key)) continue
    const found = await store.manager.streams.getMessage(RECORDS, { last_by_subj: subject })
    if (!found) continue
    const other = read(found.data, subject)
    if (other.step !== undefined || modelOf(other) === modelOf(result)) continue
    throw new ForgedError(`${result.worker} and ${other.worker} both say that they did it, with different models`)
  }
}

/** Removes the records of a run, which begins anew. */
export async function removeRecords({ manager }: FleetStore, { folder, key }: Run): Promise<void> {
  await manager.streams.purge(RECORDS, { filter: recordSubject('*', folder, key) })
}

function read(data: Uint8Array, what: string): StoredRecord {
  const { format, ...record } = parseJson(STORED_RECORD, data.length > MAX_MESSAGE ? '' : new TextDecoder().decode(data), what)
  return record
}

function modelOf({ files }: Pick<Result, 'files'>): string | undefined {
  return files.find(({ name }) => name === 'model.safetensors')?.sha256
}
