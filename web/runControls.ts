import { announce } from './announce.ts'
import { turn } from './buttons.ts'
import { byId } from './dom.ts'
import type { OwnFiles } from './ownFiles.ts'
import type { RunInfo, RunState } from './protocol.ts'
import { sentenceOf } from './runNumbers.ts'
import type { SettingsForm } from './settingsForm.ts'
import { sure } from './sure.ts'
import { counted } from './words.ts'

/** Mini-batches that are lost without a question. */
const LITTLE = 10

/** How things stand in the tab Train. */
export interface Standing {
  run: RunInfo | undefined
  state: RunState
  /** Names the work that everything else waits for. */
  busy: string | undefined
  /** Whether a run is saved here that could not be opened. */
  unopened: boolean
  /** The sentence of the status without a run. */
  idle: string
  /** The mini-batch of the last checkpoint that the visitor saved as a file. */
  downloaded: number
}

export const NO_RUN = 'No run yet.'
/** The state before a run trains. */
export const NO_STATE: RunState = { kind: 'paused', kept: true, saved: false }

/** Shows a sentence in place of the status. */
export function showStatus(text: string): void {
  byId('status').textContent = text
}

/** Shows how things stand, says it, and turns on what a visitor can do. */
export function showStanding(standing: Standing, form: SettingsForm, data: OwnFiles): void {
  const { run, state, busy, unopened, idle } = standing
  const text =
    busy ?? (run ? sentenceOf(run, state) : unopened ? 'The run that is saved here is not open. Reset removes it.' : idle)
  if (byId('status').textContent !== text) announce(text)
  showStatus(text)
  const free = busy === undefined
  const running = state.kind === 'running'
  const ended = state.kind === 'finished' || state.kind === 'failed'
  form.disabled = !free || run !== undefined
  data.turn(free && !run, free)
  byId('start').textContent = running ? 'Pause' : run && run.step > 0 && !ended ? 'Go on' : 'Start'
  turn(byId('start'), free && !ended && !unopened)
  turn(byId('step'), free && !running && !ended && run !== undefined)
  turn(byId('reset'), free && (run !== undefined || unopened))
  turn(byId('save'), free && !running && state.saved && run !== undefined)
  turn(byId('forget'), free)
}

/** Whether the run may be ended: a visitor is asked where more than a little is lost. */
export async function mayLose({ run, unopened, downloaded }: Standing): Promise<boolean> {
  if (unopened) return sure('The run that is saved in this browser will be removed.', 'Remove the run')
  const step = run?.step ?? 0
  if (step < LITTLE || step === downloaded) return true
  const trained = counted(step, 'mini-batch', 'mini-batches')
  return sure(`The run will be removed from this browser: ${trained}, of which no file was saved.`, 'Remove the run')
}

/** Saves a run that trains when the page is hidden, since it may be closed next; and asks before what was trained is lost. */
export function beforeLeaving(standing: () => Standing, save: () => Promise<void>): void {
  const hidden = () => {
    if (standing().state.kind === 'running') save().catch(() => {})
  }
  document.addEventListener('visibilitychange', () => document.hidden && hidden())
  addEventListener('pagehide', hidden)
  addEventListener('beforeunload', (event) => isOnlyHere(standing()) && event.preventDefault())
}

/** Whether closing the page would lose what was trained. */
function isOnlyHere({ run, state, downloaded }: Standing): boolean {
  const kept = state.kind === 'failed' || state.kept
  return run !== undefined && !kept && run.step >= LITTLE && run.step !== downloaded
}
