import type { Metric } from '../train/run/metrics.ts'
import { Chart } from './chart.ts'
import { byId, element } from './dom.ts'
import type { PageWorker, RunInfo, RunState, Told } from './protocol.ts'
import { SettingsForm } from './settingsForm.ts'

const MAX_NOTES = 5
/** Mini-batches over which the rate of training is measured. */
const MAX_RATE_STEPS = 20
const percent = (share: number) => `${(100 * share).toFixed(1)} %`
const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`

/** The tab in which a model trains. */
export class TrainTab {
  readonly #client: PageWorker
  readonly #trouble: (error: unknown) => void
  readonly #form = new SettingsForm()
  readonly #charts = [new Chart(byId('loss'), 'loss'), new Chart(byId('accuracy'), 'accuracy')]
  #run: RunInfo | undefined
  #state: RunState['kind'] = 'paused'
  #drawing = false
  #bytes: { liveBytes: number; peakBytes: number } | undefined

  constructor(client: PageWorker, trouble: (error: unknown) => void) {
    this.#client = client
    this.#trouble = trouble
    byId('start').addEventListener('click', () => this.#guard(() => this.#startOrPause()))
    byId('step').addEventListener('click', () => this.#guard(() => this.#client.call('run', 1)))
    byId('reset').addEventListener('click', () => this.#guard(() => this.#reset()))
    byId('save').addEventListener('click', () => this.#guard(() => this.#save()))
  }

  /** Opens the run that an earlier visit saved, if there is one. */
  begin(): Promise<void> {
    return this.#guard(async () => {
      if (!(await this.#client.call('savedRun'))) return
      byId('status').textContent = 'Opening the run that was saved here…'
      this.#opened(await this.#client.call('resume'))
    })
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
    else if (message.kind === 'evaluating') byId('status').textContent = `Evaluating ${message.images} of ${message.of} images…`
    else {
      if (!this.#run) return
      // A run that went back to a checkpoint sends its mini-batches again.
      const first = message.metrics.find(({ split }) => split === 'train')?.step ?? Number.POSITIVE_INFINITY
      this.#run.metrics = this.#run.metrics.filter(({ step }) => step < first).concat(message.metrics)
      this.#run.step = message.step
      this.#bytes = message
      this.#draw()
    }
  }

  async #startOrPause(): Promise<void> {
    if (this.#state === 'running') return this.#client.call('pause')
    if (!this.#run) {
      const settings = this.#form.read()
      if (!settings) return
      byId('status').textContent = 'Preparing: compiling kernels and measuring how branches run fastest…'
      byId<HTMLButtonElement>('start').disabled = true
      try {
        this.#opened(await this.#client.call('open', settings))
      } finally {
        byId<HTMLButtonElement>('start').disabled = false
      }
    }
    await this.#client.call('run')
  }

  async #reset(): Promise<void> {
    await this.#client.call('discard')
    this.#run = undefined
    this.#bytes = undefined
    this.#state = 'paused'
    byId('status').textContent = 'No run yet.'
    for (const chart of this.#charts) chart.show([], 0)
    byId('gains').replaceChildren()
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

  #opened(run: RunInfo): void {
    this.#run = run
    this.#form.write(run.settings)
    this.#say()
    this.#buttons()
    this.#draw()
  }

  #changed(state: RunState): void {
    this.#state = state.kind
    if (state.kind === 'failed') this.#trouble(state.message)
    this.#say()
    this.#buttons()
    this.#draw()
  }

  /** Says what the run is doing. */
  #say(): void {
    const { step = 0, totalSteps = 0 } = this.#run ?? {}
    byId('status').textContent = {
      paused: `Paused after mini-batch ${step} of ${totalSteps}; what was trained is kept in this browser.`,
      running: `Training: mini-batch ${step} of ${totalSteps}.`,
      finished: `Finished: ${totalSteps} mini-batches.`,
      failed: 'The run has failed.',
    }[this.#state]
  }

  #buttons(): void {
    const running = this.#state === 'running'
    this.#form.disabled = this.#run !== undefined
    const start = byId<HTMLButtonElement>('start')
    start.textContent = running ? 'Pause' : this.#run && this.#run.step > 0 ? 'Go on' : 'Start'
    const ended = this.#state === 'finished' || this.#state === 'failed'
    start.disabled = ended
    byId<HTMLButtonElement>('step').disabled = running || ended || !this.#run
    byId<HTMLButtonElement>('reset').disabled = !this.#run
    byId<HTMLButtonElement>('save').disabled = !this.#run || running || this.#run.step === 0
  }

  /** Draws at the next frame. */
  #draw(): void {
    if (this.#drawing) return
    this.#drawing = true
    requestAnimationFrame(() => {
      this.#drawing = false
      if (this.#run) this.#show(this.#run)
    })
  }

  #show({ metrics, branches, step, totalSteps, parameters, trainImages, evaluationImages, settings }: RunInfo): void {
    for (const chart of this.#charts) chart.show(metrics, branches)
    byId<HTMLProgressElement>('progress').value = totalSteps > 0 ? step / totalSteps : 0
    if (this.#state === 'running') this.#say()
    const evaluated = metrics.filter(({ split }) => split !== 'train')
    const last = lastOfEachPrefix(evaluated, branches)
    const rate = imagesPerSecond(metrics, settings.batchSize)
    const facts: [string, string][] = [
      ['parameters', parameters.toLocaleString('en')],
      ['training images', trainImages.toLocaleString('en')],
      ['branches run', `in mode ${settings.mode}`],
      ...(rate !== undefined ? ([['images a second', rate.toFixed(0)]] as [string, string][]) : []),
      ...(this.#bytes
        ? ([['device memory', `${megabytes(this.#bytes.liveBytes)}, at most ${megabytes(this.#bytes.peakBytes)}`]] as [
            string,
            string,
          ][])
        : []),
      ...(last.length > 0
        ? ([[`accuracy on ${evaluationImages} test images`, last.map((metric) => percent(metric.accuracy)).join(', ')]] as [
            string,
            string,
          ][])
        : []),
    ]
    byId('numbers').replaceChildren(
      ...facts.flatMap(([name, value]) => [element('dt', { textContent: name }), element('dd', { textContent: value })]),
    )
    showGains(last.length > 0 ? last : lastOfEachPrefix(metrics, branches))
  }

  #note(text: string): void {
    const notes = byId('notes')
    notes.append(element('li', { textContent: text }))
    while (notes.children.length > MAX_NOTES) notes.firstChild!.remove()
  }

  async #guard(work: () => Promise<unknown>): Promise<void> {
    byId('trouble').hidden = true
    try {
      await work()
    } catch (error) {
      this.#trouble(error)
      this.#buttons()
    }
  }
}

/** The rate of the last mini-batches of training; undefined before the second one. */
function imagesPerSecond(metrics: readonly Metric[], batchSize: number): number | undefined {
  const trained = metrics.filter(({ split }) => split === 'train')
  const last = trained.at(-1)
  const first = trained.find(({ step }) => step >= last!.step - MAX_RATE_STEPS)
  if (!last || !first || last.time <= first.time) return undefined
  return ((last.step - first.step) * batchSize) / (last.time - first.time)
}

/** The last metric of each prefix; none unless all have the same mini-batch. */
function lastOfEachPrefix(metrics: readonly Metric[], branches: number): Metric[] {
  const last = Array.from({ length: branches }, (_, k) => metrics.findLast(({ prefix }) => prefix === k + 1))
  return last.every((metric) => metric && metric.step === last[0]!.step) ? (last as Metric[]) : []
}

/** Shows by how much each branch lowers the loss of the prefix before it; the first one is compared with guessing. */
function showGains(last: readonly Metric[]): void {
  const guessing = Math.log(10)
  const gains = last.map(({ loss }, k) => (k === 0 ? guessing : last[k - 1]!.loss) - loss)
  const most = Math.max(...gains.map(Math.abs), Number.MIN_VALUE)
  byId('gains').replaceChildren(
    ...gains.map((gain, k) => {
      const name = `branch ${k + 1}`
      const bar = element('meter', { min: 0, max: most, value: Math.max(0, gain) })
      bar.setAttribute('aria-label', `${name} takes ${gain.toFixed(3)} off the loss`)
      return element('div', { className: 'gain' }, name, bar, `${gain >= 0 ? '−' : '+'}${Math.abs(gain).toFixed(3)}`)
    }),
  )
}
