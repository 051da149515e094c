import { announce } from './announce.ts'
import { onPress, turn } from './buttons.ts'
import { element } from './dom.ts'

const ADVICE = 'Press a branch to switch it off, move it with its arrows or with the mouse, and see the answers follow.'
const ONE_LEFT = 'One branch at least must stay on. Press another one to switch it on again.'

/** The card of a branch, with its buttons where it can be switched and moved. */
interface Card {
  item: HTMLLIElement
  canvas: HTMLCanvasElement
  buttons?: { earlier: HTMLButtonElement; switched: HTMLButtonElement; later: HTMLButtonElement }
}

/** The branches of a model side by side, in the order in which they are added. */
export class BranchCards {
  readonly list = element('ol')
  /** Says how a visitor changes the cards. */
  readonly hint = element('p', { className: 'hint' })
  readonly #cards: Card[]
  readonly #onChange: () => void
  #order: number[]
  readonly #off = new Set<number>()

  /**
   * @param names a name for each branch
   * @param onChange is called when a branch is switched or moved; undefined where that has no effect
   */
  constructor(names: readonly string[], onChange: (() => void) | undefined) {
    this.#onChange = onChange ?? (() => {})
    this.#order = names.map((_, i) => i)
    this.#cards = names.map((name, branch) => this.#card(name, branch, onChange !== undefined))
    this.#arrange()
  }

  /** The branches that are on, in their order. */
  get chosen(): number[] {
    return this.#order.filter((branch) => !this.#off.has(branch))
  }

  /** Draws the image under the attention of each branch. @param weights for each branch the weight of each patch */
  draw(image: HTMLCanvasElement, weights: readonly (readonly number[])[], grid: number): void {
    const heat = getComputedStyle(document.documentElement).getPropertyValue('--heat')
    for (const [branch, { canvas }] of this.#cards.entries()) {
      const context = canvas.getContext('2d')!
      const own = weights[branch] ?? []
      const most = Math.max(...own, Number.MIN_VALUE)
      const cell = canvas.width / grid
      context.globalAlpha = 1
      context.drawImage(image, 0, 0, canvas.width, canvas.height)
      context.fillStyle = heat
      for (const [patch, weight] of own.entries()) {
        context.globalAlpha = 0.8 * (weight / most)
        context.fillRect((patch % grid) * cell, Math.floor(patch / grid) * cell, cell, cell)
      }
    }
  }

  #card(name: string, branch: number, movable: boolean): Card {
    const canvas = element('canvas', { width: 112, height: 112 })
    canvas.setAttribute('role', 'img')
    canvas.setAttribute('aria-label', `where ${name} looks`)
    const item = element('li', { className: 'branch' }, canvas)
    if (!movable) {
      item.append(element('p', { textContent: name }))
      return { item, canvas }
    }
    const arrow = (textContent: string, when: string, by: number) => {
      const button = element('button', { type: 'button', textContent, ariaLabel: `add ${name} ${when}` })
      onPress(button, () => this.#move(name, branch, this.#order.indexOf(branch) + by))
      return button
    }
    const buttons = {
      earlier: arrow('←', 'earlier', -1),
      switched: element('button', { type: 'button', textContent: name, title: `switch ${name} off or on` }),
      later: arrow('→', 'later', 1),
    }
    onPress(buttons.switched, () => this.#switch(name, branch))
    item.append(element('div', { className: 'row' }, buttons.earlier, buttons.switched, buttons.later))
    this.#dragged(item, canvas, name, branch)
    return { item, canvas, buttons }
  }

  #switch(name: string, branch: number): void {
    const off = !this.#off.has(branch)
    if (off) this.#off.add(branch)
    else this.#off.delete(branch)
    announce(`${name} is ${off ? 'off' : 'on'}.`, 'branches')
    this.#arrange()
    this.#onChange()
  }

  /** Lets a mouse or a pen drag a card by its picture to the place of another. A finger scrolls the page; the buttons move cards too. */
  #dragged(item: HTMLLIElement, handle: HTMLElement, name: string, branch: number): void {
    const under = ({ clientX, clientY }: PointerEvent) =>
      this.#cards.find((other) => other.item !== item && other.item.contains(document.elementFromPoint(clientX, clientY)))
    let over: Card | undefined
    handle.addEventListener('pointerdown', (event) => {
      if (event.pointerType !== 'touch' && event.button === 0) handle.setPointerCapture(event.pointerId)
    })
    handle.addEventListener('pointermove', (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return
      over?.item.classList.remove('over')
      over = under(event)
      over?.item.classList.add('over')
    })
    const end = (moves: boolean) => {
      over?.item.classList.remove('over')
      if (moves && over) this.#move(name, branch, this.#order.indexOf(this.#cards.indexOf(over)))
      over = undefined
    }
    handle.addEventListener('pointerup', () => end(true))
    handle.addEventListener('pointercancel', () => end(false))
  }

  #move(name: string, branch: number, to: number): void {
    this.#order = this.#order.filter((other) => other !== branch)
    this.#order.splice(to, 0, branch)
    announce(`${name} is added as number ${to + 1} of ${this.#order.length}.`, 'branches')
    this.#arrange()
    this.#onChange()
  }

  #arrange(): void {
    const focused = document.activeElement
    this.list.replaceChildren(...this.#order.map((branch) => this.#cards[branch]!.item))
    if (focused instanceof HTMLElement && this.list.contains(focused)) focused.focus()
    for (const [at, branch] of this.#order.entries()) {
      const { item, buttons } = this.#cards[branch]!
      const off = this.#off.has(branch)
      item.toggleAttribute('data-off', off)
      if (!buttons) continue
      turn(buttons.earlier, at > 0)
      turn(buttons.later, at < this.#order.length - 1)
      buttons.switched.setAttribute('aria-pressed', String(!off))
      // One branch at least answers.
      const last = !off && this.chosen.length === 1
      turn(buttons.switched, !last)
      buttons.switched.title = last ? 'one branch at least must stay on' : `switch it ${off ? 'on' : 'off'}`
    }
    this.hint.textContent = this.chosen.length === 1 && this.#order.length > 1 ? ONE_LEFT : ADVICE
  }
}
