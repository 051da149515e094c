import { byId, element } from './dom.ts'
import { plainWords } from './plainWords.ts'

/** Something that a visitor can do about what went wrong. */
export interface Action {
  label: string
  run(): void
}

/** Shows a line that says why something cannot be done, and what to do; some of that as a button. */
export type Trouble = (error: unknown, action?: Action) => void

/** A tab, or the page as a whole. */
type Place = string
const PAGE: Place = 'page'

const troubles = new Map<Place, { message: string; action: Action | undefined }>()
let tab: Place = ''

/** Returns what shows the troubles of a tab, while that tab is shown. */
export function troubleOf(place: Place): Trouble {
  return (error, action) => {
    troubles.set(place, { message: plainWords(error instanceof Error ? error.message : String(error)), action })
    draw()
  }
}

/** Shows what keeps the whole page from working, in every tab. */
export const pageTrouble = troubleOf(PAGE)

/** Removes the trouble of a tab, when something is tried anew or has worked. */
export function clearTrouble(place: Place): void {
  if (troubles.delete(place)) draw()
}

/** Shows the trouble of the tab that is shown now. */
export function showTroubleOf(place: Place): void {
  tab = place
  draw()
}

function draw(): void {
  const lines = [PAGE, tab].flatMap((place) => {
    const trouble = troubles.get(place)
    if (!trouble) return []
    const { message, action } = trouble
    const line = element('p', { textContent: message })
    if (!action) return [line]
    const button = element('button', { type: 'button', textContent: action.label })
    button.addEventListener('click', () => {
      clearTrouble(place)
      action.run()
    })
    return [line, element('div', { className: 'row' }, button)]
  })
  byId('trouble').replaceChildren(...lines)
  byId('trouble').hidden = lines.length === 0
}
