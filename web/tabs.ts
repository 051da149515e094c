/**
 * Makes the tabs of the page work with mouse and keyboard, as the ARIA pattern says. The address names the tab that is shown, so that a reload
 * and a link show it too.
 * @param onShow is called when a tab is shown, with its panel's id
 */
export function startTabs(onShow: (panel: string) => void): void {
  const tabs = [...document.querySelectorAll<HTMLButtonElement>('[role=tab]')]
  const panelOf = (tab: HTMLButtonElement) => tab.getAttribute('aria-controls')!
  const show = (chosen: HTMLButtonElement) => {
    for (const tab of tabs) {
      const selected = tab === chosen
      tab.setAttribute('aria-selected', String(selected))
      tab.tabIndex = selected ? 0 : -1
      document.getElementById(panelOf(tab))!.hidden = !selected
    }
    onShow(panelOf(chosen))
  }
  const choose = (tab: HTMLButtonElement) => {
    history.replaceState(null, '', `#/${panelOf(tab)}`)
    show(tab)
  }
  for (const [i, tab] of tabs.entries()) {
    tab.addEventListener('click', () => choose(tab))
    tab.addEventListener('keydown', ({ key }) => {
      const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 }[key]
      if (to === undefined) return
      const next = tabs[(to + tabs.length) % tabs.length]!
      next.focus()
      choose(next)
    })
  }
  const named = () => tabs.find((tab) => location.hash === `#/${panelOf(tab)}`)
  addEventListener('hashchange', () => show(named() ?? tabs[0]!))
  show(named() ?? tabs[0]!)
}
