/** Finds an element of the page by its id. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T
}

/** Makes an element. @param properties properties of the element, such as `className` and `textContent` */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), properties)
  made.append(...children)
  return made
}

/** Makes a table of names and values. A long name breaks between its words, a number nowhere. */
export function factsTable(facts: readonly (readonly [string, string])[]): HTMLElement {
  const rows = facts.map(([name, value]) => {
    const cell = element('td', { className: /^[\d,.]+$/.test(value) ? 'number' : '' }, ...breakable(value))
    return element('tr', {}, element('th', { scope: 'row' }, ...breakable(name)), cell)
  })
  return element('div', { className: 'scroll' }, element('table', {}, element('tbody', {}, ...rows)))
}

/** Returns a text with places where a line may break: before the capitals of a name, behind slashes and hyphens. */
function breakable(text: string): (Node | string)[] {
  return text.split(/(?<=[a-z])(?=[A-Z])|(?<=[/_-])/).flatMap((part, i) => (i === 0 ? [part] : [element('wbr'), part]))
}
