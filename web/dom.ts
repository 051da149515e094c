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

/** Makes a table of names and values. */
export function factsTable(facts: readonly (readonly [string, string])[]): HTMLElement {
  const rows = facts.map(([name, value]) =>
    element('tr', {}, element('th', { scope: 'row', textContent: name }), element('td', { textContent: value })),
  )
  return element('div', { className: 'scroll' }, element('table', {}, element('tbody', {}, ...rows)))
}
