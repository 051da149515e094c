import type { Settings } from '../train/settings.ts'
import { Chart } from './chart.ts'
import { byId, element } from './dom.ts'
import { OwnFiles } from './ownFiles.ts'
import type { GivenFile, PageWorker, Refused, RunInfo, RunState, Told } from './protocol.ts'
import { factsOf, lastOfEachPrefix, sentenceOf, showGains } from './runNumbers.ts'
import { SettingsForm } from './settingsForm.ts'
import { clearTrouble, type Trouble } from './trouble.ts'

const MAX_NOTES = 5
/** Milliseconds between drawings. */
const DRAW_EVERY = 200
const NO_RUN = 'No run yet.'
const TITLE = document.title

/** The tab in which a model trains. */
export class TrainTab {
  readonly #client: PageWorker
  readonly #trouble: Trouble
  readonly #data: OwnFiles
  readonly #form = new SettingsForm()
  readonly #charts = [new Chart(byId('loss'), 'loss'), new Chart(byId('accuracy'), 'accuracy')]
  #run: RunInfo | undefined
  /** The settings of the last run that was to be opened. */
  #asked: Partial<Settings> | undefined
  #state: RunState['kind'] = 'paused'
  /** Whether the last checkpoint outlives the page. */
  #kept = true
  #drawing = false
  /** Whether something has changed since the last drawing began. */
  #late = false
  #bytes: { liveBytes: number; peakBytes: number } | undefined

  constructor(client: PageWorker, trouble: Trouble) {
    this.#client = client
    this.#trouble = trouble
    this.#data = new OwnFiles((files) => this.#guard(() => this.#take(files)))
    byId('start').addEventListener('click', () => this.#guard(() => this.#startOrPause()))
    byId('step').addEventListener('click', () => this.#guard(() => this.#client.call('run', 1)))
    byId('reset').addEventListener('click', () => this.#guard(() => this.#reset()))
    byId('forget').addEventListener('click', () => this.#guard(() => this.#forget()))
    byId('save').addEventListener('click', () => this.#guard(() => this.#save()))
  }

  /** Opens the run that an earlier visit saved, if there is one, and finds the data that it kept. */
  begin(): Promise<void> {
    return this.#guard(async () => {
      const own = await this.#client.call('ownData')
      if (own) this.#data.offer(own, false)
      if (!(await this.#client.call('savedRun'))) return
      byId('status').textContent = 'Opening the run that was saved here…'
      this.#opened(await this.#client.call('resume'))
    })
  }

  /** Takes files that a visitor gives: a checkpoint, or data. */
  async #take(files: GivenFile[]): Promise<void> {
    const [first] = files
    if (files.length === 1 && first!.path.endsWith('.safetensors')) return this.#openCheckpoint(first!)
    if (this.#run) throw new Error('a run is open; save its checkpoint if you like, press Reset, then give other data')
    this.#data.offer(await this.#client.call('takeData', files), true)
    byId('status').textContent = 'The data is here; Start trains on it.'
  }

  async #openCheckpoint({ path, file }: GivenFile): Promise<void> {
    byId('status').textContent = `Opening ${path}…`
    try {
      const opened = await this.#client.call('openCheckpoint', path, file)
      if ('initial' in opened) {
        this.#form.fix(opened.initial)
        byId('initial').hidden = false
        byId('initial-name').textContent = `The next run begins with the parameters of ${opened.name}.`
        byId('status').textContent = this.#run
          ? 'Reset this run to begin the next one.'
          : 'Choose data, and Start trains the model on it.'
      } else {
        this.#clear()
        this.#opened('run' in opened ? opened.run : opened)
      }
    } catch (error) {
      this.#say()
      throw error
    }
  }

  /** Why nothing can be timed now: a run that trains; undefined otherwise. */
  get disturbs(): string | undefined {
    return this.#state === 'running' ? 'a run is training on this device; pause it in the tab Train, then time' : undefined
  }

  /** Turns everything off where nothing can be computed. */
  refuse(): void {
    this.#form.disabled = true
    byId<HTMLButtonElement>('start').disabled = true
    byId('status').textContent = 'Training takes WebGPU.'
  }

  /** Takes what the worker tells. */
  hear(message: Told): void {
    if (message.kind === 'note') this.#note(message.text)
    else if (message.kind === 'state') this.#changed(message.state)
    else if (message.kind === 'progress')
      byId('status').textContent =
        `${message.what}: ${message.done.toLocaleString('en')} of ${message.of.toLocaleString('en')}…`
    else {
      if (!this.#run) return
      // A run that went back to a checkpoint sends its mini-batches again.
      const first = message.metrics.find(({ split }) => split === 'train')?.step ?? Number.POSITIVE_INFINITY
      if ((this.#run.metrics.at(-1)?.step ?? 0) >= first)
        this.#run.metrics = this.#run.metrics.filter(({ step }) => step < first)
      this.#run.metrics.push(...message.metrics)
      this.#run.step = message.step
      this.#bytes = message
      // A hidden tab draws nothing, but its title is seen.
      document.title = `${Math.floor((100 * this.#run.step) / this.#run.totalSteps)} % trained · ${TITLE}`
      this.#draw()
    }
  }

  async #startOrPause(): Promise<void> {
    if (this.#state === 'running') return this.#client.call('pause')
    if (!this.#run) {
      const settings = this.#form.read(this.#data.chosen)
      if (!settings || !(await this.#open(settings))) return
    }
    await this.#client.call('run')
  }

  /** Opens a run with these settings. @returns whether it is open */
  async #open(settings: Partial<Settings>): Promise<boolean> {
    byId('status').textContent = 'Preparing: compiling kernels and measuring how branches run fastest…'
    const start = byId<HTMLButtonElement>('start')
    start.disabled = true
    this.#asked = settings
    try {
      return this.#opened(await this.#client.call('open', settings))
    } catch (error) {
      byId('status').textContent = NO_RUN
      throw error
    } finally {
      start.disabled = false
    }
  }

  /** Begins anew with other settings. */
  #again(settings: Partial<Settings>): void {
    this.#guard(async () => {
      await this.#reset()
      this.#form.write(settings)
      if (await this.#open(settings)) await this.#client.call('run')
    })
  }

  /** Says that there was not enough memory, and offers half the mini-batch. */
  #tooLarge(message: string): void {
    const settings = this.#run?.settings ?? this.#asked ?? {}
    const batchSize = Math.floor((settings.batchSize ?? 0) / 2)
    const action = {
      label: `Begin anew with ${batchSize} images a mini-batch`,
      run: () => this.#again({ ...settings, batchSize }),
    }
    this.#trouble(`Out of memory: ${message}`, batchSize >= 1 ? action : undefined)
  }

  async #reset(): Promise<void> {
    await this.#client.call('discard')
    await this.#forget()
    this.#clear()
  }

  /** Forgets the model with which the next run would begin. */
  async #forget(): Promise<void> {
    await this.#client.call('forgetInitial')
    this.#form.fix(undefined)
    byId('initial').hidden = true
    this.#buttons()
  }

  #clear(): void {
    this.#run = undefined
    this.#bytes = undefined
    this.#state = 'paused'
    byId('status').textContent = NO_RUN
    for (const chart of this.#charts) chart.show([], 0)
    byId('gains').replaceChildren()
    byId('branch-clock').textContent = ''
    byId('numbers').replaceChildren()
    byId<HTMLProgressElement>('progress').value = 0
    this.#buttons()
  }

  async #save(): Promise<void> {
    const bytes = await this.#client.call('checkpoint')
    const link = element('a', {
      download: 'checkpoint.safetensors',
      href: URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>])),
    })
    link.click()
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
  }

  /** Takes a run that was opened, or says why it was not. @returns whether it is open */
  #opened(run: RunInfo | Refused): boolean {
    if ('refused' in run) {
      byId('status').textContent = NO_RUN
      if (run.refused === 'outOfMemory') this.#tooLarge(run.message)
      else {
        // The button does what the flag of the command line does.
        const message = run.message.replace(/; or leave out such files with --skip-broken$/, '')
        const asked = { ...this.#asked, skipBroken: true }
        this.#trouble(message, { label: 'Go on without files that cannot be decoded', run: () => this.#again(asked) })
      }
      this.#buttons()
      return false
    }
    this.#run = run
    byId('initial').hidden = true
    this.#form.write(run.settings)
    this.#data.show(run.settings.dataset !== 'mnist')
    if (run.leftOut !== undefined) this.#note(run.leftOut)
    this.#say()
    this.#buttons()
    this.#draw()
    return true
  }

  #changed(state: RunState): void {
    this.#state = state.kind
    if (state.kind !== 'failed') this.#kept = state.kept
    else {
      if (!this.#run) return
      if (state.outOfMemory) this.#tooLarge(state.message)
      else this.#trouble(state.message)
    }
    this.#say()
    this.#buttons()
    this.#draw()
  }

  /** Says what the run is doing. */
  #say(): void {
    byId('status').textContent = this.#run ? sentenceOf(this.#run, this.#state, this.#kept) : NO_RUN
  }

  #buttons(): void {
    const running = this.#state === 'running'
    this.#form.disabled = this.#data.disabled = this.#run !== undefined
    const start = byId<HTMLButtonElement>('start')
    start.textContent = running ? 'Pause' : this.#run && this.#run.step > 0 ? 'Go on' : 'Start'
    const ended = this.#state === 'finished' || this.#state === 'failed'
    start.disabled = ended
    byId<HTMLButtonElement>('step').disabled = running || ended || !this.#run
    byId<HTMLButtonElement>('reset').disabled = !this.#run
    byId<HTMLButtonElement>('save').disabled = !this.#run || running || this.#run.step === 0
  }

  /** Draws, one part a frame, so that no frame waits long; and not more often than the eye follows. */
  #draw(): void {
    this.#late = true
    if (this.#drawing) return
    this.#drawing = true
    const parts = [
      (run: RunInfo) => this.#showNumbers(run),
      ...this.#charts.map(
        (chart) =>
          ({ metrics, branches }: RunInfo) =>
            chart.show(metrics, branches),
      ),
    ]
    const next = () => {
      const part = parts.shift()
      if (this.#run) part?.(this.#run)
      if (parts.length > 0) requestAnimationFrame(next)
      else setTimeout(() => this.#drawn(), DRAW_EVERY)
    }
    requestAnimationFrame(next)
    this.#late = false
  }

  #drawn(): void {
    this.#drawing = false
    if (this.#late) this.#draw()
  }

  #showNumbers(run: RunInfo): void {
    const { metrics, branches, step, totalSteps } = run
    byId<HTMLProgressElement>('progress').value = totalSteps > 0 ? step / totalSteps : 0
    if (this.#state === 'running') this.#say()
    byId('numbers').replaceChildren(
      ...factsOf(run, this.#bytes).flatMap(([name, value]) => [
        element('dt', { textContent: name }),
        element('dd', { textContent: value }),
      ]),
    )
    const evaluated = lastOfEachPrefix(
      metrics.filter(({ split }) => split !== 'train'),
      branches,
    )
    showGains(run, evaluated.length > 0 ? evaluated : lastOfEachPrefix(metrics, branches))
  }

  #note(text: string): void {
    const notes = byId('notes')
    notes.append(element('li', { textContent: text }))
    while (notes.children.length > MAX_NOTES) notes.firstChild!.remove()
  }

  async #guard(work: () => Promise<unknown>): Promise<void> {
    clearTrouble()
    try {
      await work()
    } catch (error) {
      this.#trouble(error)
      this.#buttons()
    }
  }
}
