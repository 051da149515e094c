/** Makes the tabs of the page work with mouse and keyboard, as the ARIA pattern says. @param onShow is called when a tab is shown, by its panel's id */
export function startTabs(onShow: Partial<Record<string, () => void>>): void {
  const tabs = [...document.querySelectorAll<HTMLButtonElement>('[role=tab]')]
  const show = (chosen: HTMLButtonElement) => {
    for (const tab of tabs) {
      const selected = tab === chosen
      tab.setAttribute('aria-selected', String(selected))
      tab.tabIndex = selected ? 0 : -1
      document.getElementById(tab.getAttribute('aria-controls')!)!.hidden = !selected
    }
    onShow[chosen.getAttribute('aria-controls')!]?.()
  }
  for (const [i, tab] of tabs.entries()) {
    tab.addEventListener('click', () => show(tab))
    tab.addEventListener('keydown', ({ key }) => {
      const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 }[key]
      if (to === undefined) return
      const next = tabs[(to + tabs.length) % tabs.length]!
      next.focus()
      show(next)
    })
  }
}
