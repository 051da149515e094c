import { byId, element } from './dom.ts'

/** Something that a visitor can do about what went wrong. */
export interface Action {
  label: string
  run(): void
}

/** Shows a line that says why something cannot be done, and what to do; some of that as a button. */
export type Trouble = (error: unknown, action?: Action) => void

export const showTrouble: Trouble = (error, action) => {
  const line = byId('trouble')
  line.replaceChildren(error instanceof Error ? error.message : String(error))
  if (action) {
    const button = element('button', { type: 'button', textContent: action.label })
    button.addEventListener('click', () => {
      clearTrouble()
      action.run()
    })
    line.append(element('div', { className: 'row' }, button))
  }
  line.hidden = false
}

export function clearTrouble(): void {
  byId('trouble').hidden = true
}
