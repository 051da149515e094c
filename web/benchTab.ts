import { ceilingLine } from '../bench/format.ts'
import { cellsOf, HEAD, markdownReport } from '../bench/markdown.ts'
import { roofline } from '../bench/roofline.ts'
import type { BenchReport } from '../bench/runBench.ts'
import type { Group } from '../bench/target.ts'
import { announce } from './announce.ts'
import type { BenchCalls, BenchTold } from './benchProtocol.ts'
import { onPress, turn } from './buttons.ts'
import { Client } from './client.ts'
import { byId, element } from './dom.ts'
import { clearTrouble } from './trouble.ts'

/** Width and height of the roofline plot, where there is room for so much. */
const PLOT = { width: 960, height: 480 }
/** Width of the smallest plot; a narrower page scrolls it. */
const LEAST_WIDTH = 340

/** The tab that times kernels, ops, layers and models, and compares them with the ceilings of the device. */
export class BenchTab {
  readonly #mayBegin: () => string | undefined
  readonly #trouble: (error: unknown) => void
  #client: Client<BenchCalls, BenchTold> | undefined
  #report: BenchReport | undefined
  #stopping = false
  /** Whether the visitor has ended the bench at once. */
  #cancelled = false

  /** @param mayBegin says why no bench can begin now; undefined if it can */
  constructor(mayBegin: () => string | undefined, trouble: (error: unknown) => void) {
    this.#mayBegin = mayBegin
    this.#trouble = trouble
    onPress(byId('bench-start'), () => this.#run())
    onPress(byId('bench-stop'), () => this.#stop())
    onPress(byId('copy-json'), () => this.#copy(JSON.stringify(this.#report, null, 2), 'JSON'))
    onPress(byId('copy-markdown'), () => this.#copy(markdownReport(this.#report!), 'Markdown'))
    turn(byId('bench-start'), true)
    // A keyboard can scroll what it can focus.
    for (const id of ['roofline', 'bench-table']) byId(id).tabIndex = 0
    let width = 0
    new ResizeObserver(([entry]) => {
      // The plot is drawn again only when the width changes, since drawing it changes the height.
      if (!this.#report || entry!.contentRect.width === width) return
      width = entry!.contentRect.width
      this.#plot(this.#report)
    }).observe(byId('roofline'))
  }

  /** Whether a bench is timing. */
  get isRunning(): boolean {
    return this.#client !== undefined
  }

  async #run(): Promise<void> {
    clearTrouble('bench')
    const why = this.#mayBegin()
    if (why !== undefined) return this.#trouble(why)
    const group = byId<HTMLSelectElement>('bench-group').value
    const filter = byId<HTMLInputElement>('bench-filter').value.trim()
    const quick = byId<HTMLInputElement>('bench-quick').checked
    this.#running(true)
    // Former times are not those of what is asked now.
    this.#report = undefined
    byId('bench-result').hidden = true
    this.#say('Opening a device and measuring its ceilings…')
    // A worker of its own keeps the times apart from everything else that the page does, and ends with its memory.
    const client = new Client<BenchCalls, BenchTold>('bench.js', ({ done, of, what }) => {
      byId<HTMLProgressElement>('bench-progress').value = done / Math.max(1, of)
      if (!this.#stopping) this.#show(`${done} of ${of} done; timing ${what}…`)
    })
    this.#client = client
    try {
      const groups = group === 'all' ? [] : [group as Group]
      const report = await client.call('bench', { groups, quick, ...(filter !== '' && { filter }) })
      const failed = report.failures.length > 0 ? `, ${report.failures.length} failed` : ''
      this.#say(`${report.results.length} timed${failed}${this.#stopping ? ', then cancelled' : ''}.`)
      this.#showReport(report)
    } catch (error) {
      if (this.#cancelled) this.#say('Cancelled, without a result.')
      else {
        this.#say('The bench has ended without a result.')
        this.#trouble(error)
      }
    } finally {
      client.end('the bench has ended')
      this.#client = undefined
      this.#running(false)
    }
  }

  /** Ends the bench after the target that is timed now; once more ends it at once. */
  #stop(): void {
    if (this.#stopping) {
      this.#cancelled = true
      this.#client?.end('cancelled')
      return
    }
    this.#stopping = true
    this.#say('Ending after what is timed now; Cancel again ends at once, without a result.')
    this.#client?.call('stop').catch(() => {})
  }

  #running(running: boolean): void {
    this.#stopping = this.#cancelled = false
    turn(byId('bench-start'), !running)
    turn(byId('bench-stop'), running)
    byId<HTMLProgressElement>('bench-progress').value = running ? 0 : 1
    byId('bench-progress').hidden = !running
  }

  /** Shows a sentence. */
  #show(text: string): void {
    byId('bench-status').textContent = text
  }

  /** Shows a sentence, and says it. */
  #say(text: string): void {
    this.#show(text)
    announce(text)
  }

  #showReport(report: BenchReport): void {
    this.#report = report
    byId('bench-result').hidden = false
    byId('bench-ceilings').textContent = `${report.device.name}: ${ceilingLine(report.ceilings)}.`
    const cell = (text: string, i: number) =>
      element(i === 0 ? 'th' : 'td', { textContent: text, ...(i === 0 && { scope: 'row' }) })
    const rows = report.results.map((result) => element('tr', {}, ...cellsOf(result).map(cell)))
    const failed = report.failures.map(({ id, reason }) =>
      element('tr', {}, cell(id, 0), element('td', { colSpan: HEAD.length - 1, textContent: `failed: ${reason}` })),
    )
    const head = element('tr', {}, ...HEAD.map((name) => element('th', { scope: 'col', textContent: name })))
    const table = element('table', {}, element('thead', {}, head), element('tbody', {}, ...rows, ...failed))
    byId('bench-table').replaceChildren(table)
    this.#plot(report)
  }

  #plot(report: BenchReport): void {
    const place = byId('roofline')
    const width = Math.max(LEAST_WIDTH, Math.min(PLOT.width, place.clientWidth))
    place.innerHTML = roofline(report, { width, height: Math.min(PLOT.height, Math.round(0.75 * width)) })
  }

  async #copy(text: string, kind: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(text)
      this.#say(`Copied as ${kind}.`)
    } catch (error) {
      this.#trouble(`the browser does not let this page copy (${error instanceof Error ? error.message : error})`)
    }
  }
}
