import { element } from './dom.ts'

/** The branches of a model side by side, in the order in which they are added. */
export class BranchCards {
  readonly list = element('ol')
  readonly #cards: HTMLLIElement[]
  readonly #onChange: () => void
  #order: number[]
  readonly #off = new Set<number>()

  /** @param onChange is called when a branch is switched or moved */
  constructor(branches: number, onChange: () => void) {
    this.#onChange = onChange
    this.#order = Array.from({ length: branches }, (_, i) => i)
    this.#cards = this.#order.map((branch) => this.#card(branch))
    this.#arrange()
  }

  /** The branches that are on, in their order. */
  get chosen(): number[] {
    return this.#order.filter((branch) => !this.#off.has(branch))
  }

  /** Draws the image under the attention of each branch. @param weights for each branch the weight of each patch */
  draw(image: HTMLCanvasElement, weights: readonly (readonly number[])[], grid: number): void {
    const heat = getComputedStyle(document.documentElement).getPropertyValue('--heat')
    for (const [branch, card] of this.#cards.entries()) {
      const canvas = card.querySelector('canvas')!
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

  #card(branch: number): HTMLLIElement {
    const name = `branch ${branch + 1}`
    const canvas = element('canvas', { width: 112, height: 112 })
    canvas.setAttribute('role', 'img')
    canvas.setAttribute('aria-label', `where ${name} looks`)
    const turn = element('button', { type: 'button', textContent: name, title: `switch ${name} off or on` })
    turn.setAttribute('aria-pressed', 'true')
    const card = element('li', { className: 'branch' }, canvas)
    const move = (by: number) => {
      const at = this.#order.indexOf(branch)
      this.#move(branch, at + by)
    }
    const earlier = element('button', {
      type: 'button',
      textContent: '←',
      ariaLabel: `add ${name} earlier`,
      onclick: () => move(-1),
    })
    const later = element('button', {
      type: 'button',
      textContent: '→',
      ariaLabel: `add ${name} later`,
      onclick: () => move(1),
    })
    turn.addEventListener('click', () => {
      const off = !this.#off.has(branch)
      // One branch at least answers.
      if (off && this.chosen.length === 1) return
      if (off) this.#off.add(branch)
      else this.#off.delete(branch)
      turn.setAttribute('aria-pressed', String(!off))
      card.toggleAttribute('data-off', off)
      this.#onChange()
    })
    card.append(element('div', { className: 'row' }, earlier, turn, later))
    this.#dragged(card, canvas, branch)
    return card
  }

  /** Lets a card be dragged by its picture to the place of another. */
  #dragged(card: HTMLLIElement, handle: HTMLElement, branch: number): void {
    const under = ({ clientX, clientY }: PointerEvent) =>
      this.#cards.find((other) => other !== card && other.contains(document.elementFromPoint(clientX, clientY)))
    let over: HTMLLIElement | undefined
    handle.addEventListener('pointerdown', (event) => handle.setPointerCapture(event.pointerId))
    handle.addEventListener('pointermove', (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return
      over?.classList.remove('over')
      over = under(event)
      over?.classList.add('over')
    })
    handle.addEventListener('pointerup', () => {
      over?.classList.remove('over')
      if (over) this.#move(branch, this.#order.indexOf(this.#cards.indexOf(over)))
      over = undefined
    })
  }

  #move(branch: number, to: number): void {
    if (to < 0 || to >= this.#order.length) return
    this.#order = this.#order.filter((other) => other !== branch)
    this.#order.splice(to, 0, branch)
    this.#arrange()
    this.#onChange()
  }

  #arrange(): void {
    const focused = document.activeElement
    this.list.replaceChildren(...this.#order.map((branch) => this.#cards[branch]!))
    if (focused instanceof HTMLElement && this.list.contains(focused)) focused.focus()
  }
}
