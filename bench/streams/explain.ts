import { significant } from '../format.ts'
import { bytes } from './bytes.ts'
import { EAGER, type Row } from './rows.ts'
import type { StreamsReport } from './streamsReport.ts'

/** Smallest speedup that counts as help. */
const HELPS = 1.05
/** Smallest ratio of two device times at which the device does not work less. */
const AS_LONG = 0.95

type ExplainedBy = Pick<StreamsReport, 'device' | 'choices'>

/** Returns a line for every mode that does not help in one table, with the reason as far as the numbers show it. */
export function explain(rows: readonly Row[], { device: { software }, choices }: ExplainedBy): string[] {
  const named = (architecture: Row['architecture'], name: string) =>
    rows.find((row) => row.architecture === architecture && row.name === name)
  const [eager, serial, vit] = [named('paraformer', EAGER), named('paraformer', 'serial'), named('vit', 'serial')]
  return rows.flatMap((row): string[] => {
    const { architecture, name, speedup } = row
    const line = (ratio: number, of: string, why: string) => {
      return ratio >= HELPS ? [] : [`${name} does not help, ${significant(ratio)}x of ${of}: ${why}.`]
    }
    if (architecture === 'vit') {
      return row.devices > 1 && vit ? line(speedup.vit, 'the ViT on one device', pipelined(row, vit, software, choices)) : []
    }
    if (name === 'serial') return eager ? line(speedup.eager, EAGER, replayed(row, eager)) : []
    if (name === EAGER || !serial) return []
    if (name === 'streams') return line(speedup.serial, 'serial', queued(row, serial))
    if (name === 'coalesced') return line(speedup.serial, 'serial', wider(row, serial))
    return line(speedup.serial, 'serial', distributedNote(row, serial, software))
  })
}

function replayed(row: Row, eager: Row): string {
  return `JavaScript takes ${ms(row.host)} instead of ${ms(eager.host)}, but the device works ${ms(row.device)} either way`
}

function queued(row: Row, serial: Row): string {
  return (
    `one queue runs the dispatches of all streams one after the other, with a barrier before each that uses what was written; ` +
    `${row.submits} submits instead of ${serial.submits} take ${ms(row.host)} of JavaScript instead of ${ms(serial.host)}`
  )
}

function wider(row: Row, serial: Row): string {
  const fewer = `${row.dispatches} dispatches instead of ${serial.dispatches}`
  const [works, worked] = [row.device ?? Number.NaN, serial.device ?? Number.NaN]
  if (works >= AS_LONG * worked) {
    return `in ${fewer} the device works no less, ${ms(works)} instead of ${ms(worked)}: those of one branch keep it busy already`
  }
  return `with ${fewer} the device works ${ms(works)} instead of ${ms(worked)}, JavaScript ${ms(row.host)} instead of ${ms(serial.host)}`
}

function distributedNote(row: Row, serial: Row, software: boolean): string {
  return (
    `${shared(row, software)}, every one gets the images anew and computes the stem, and ` +
    `${bytes(row.moved)} cross by way of the host, which waits for them; ` +
    `${row.dispatches} dispatches instead of ${serial.dispatches}, JavaScript ${ms(row.host)} instead of ${ms(serial.host)}`
  )
}

function pipelined(row: Row, vit: Row, software: boolean, choices: ExplainedBy['choices']): string {
  const tried = choices.find(({ batch, pass, name }) => batch === row.batch && pass === row.pass && name === 'pipeline')
  const [best] = Object.entries(tried?.ms ?? {}).sort(([, a], [, b]) => a - b)
  const undivided = row.batch === 1 ? 'one image cannot be divided' : 'more micro-batches cost more dispatches than they save'
  const turns =
    row.batch === 1 || best?.[0] === '1' ? `they work one after the other, since ${undivided}` : 'they wait for each other'
  return (
    `${shared(row, software)}, ${turns}, and ${bytes(row.moved)} cross by way of the host; ` +
    `${row.dispatches} dispatches instead of ${vit.dispatches}`
  )
}

function shared({ devices }: Row, software: boolean): string {
  return `the ${devices} devices share one ${software ? 'processor' : 'GPU'}`
}

function ms(value: number | undefined): string {
  return `${significant(value ?? Number.NaN)} ms`
}
