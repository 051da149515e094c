import type { Settings } from '../train/settings.ts'
import { announce } from './announce.ts'
import { onPress } from './buttons.ts'
import { byId } from './dom.ts'
import { offerFor } from './offers.ts'
import { OwnFiles } from './ownFiles.ts'
import type { GivenFile, PageWorker, Refused, RunInfo, RunState, Told } from './protocol.ts'
import { beforeLeaving, mayLose, NO_RUN, NO_STATE, type Standing, showStanding, showStatus } from './runControls.ts'
import { addMetrics, sentenceOf } from './runNumbers.ts'
import { RunView } from './runView.ts'
import { saveAs } from './saveAs.ts'
import { SettingsForm } from './settingsForm.ts'
import { clearTrouble, type Trouble } from './trouble.ts'

const ELSEWHERE =
  'Another tab of this page has the run that this browser keeps. What this tab trains is gone when it closes, unless you save its checkpoint.'

/** The other users of the device. */
export interface Others {
  /** Why no run may train now; undefined if it may. */
  disturbs(): string | undefined
}

/** The tab in which a model trains: it opens, runs and ends one run at a time. */
export class TrainTab {
  readonly #client: PageWorker
  readonly #trouble: Trouble
  readonly #others: Others
  readonly #form = new SettingsForm()
  readonly #data: OwnFiles
  readonly #view = new RunView()
  /** Nothing can begin before it is known what an earlier visit saved. */
  readonly #at: Standing = {
    ...{ run: undefined, state: NO_STATE, unopened: false, downloaded: 0, idle: NO_RUN },
    busy: 'Looking for what an earlier visit saved…',
  }
  /** The settings of the last run that was to be opened. */
  #asked: Partial<Settings> | undefined
  /** Quarters of the run that were announced. */
  #quarters = 0

  constructor(client: PageWorker, trouble: Trouble, others: Others) {
    this.#client = client
    this.#trouble = trouble
    this.#others = others
    this.#data = new OwnFiles(
      (files) => this.#guard(() => this.#take(files)),
      (own) => this.#form.suit(own),
    )
    const acts = {
      start: () => this.#startOrPause(),
      step: () => this.#train(1),
      reset: () => this.#reset(),
      forget: () => this.#forget(),
      save: () => this.#save(),
    }
    for (const [id, act] of Object.entries(acts)) onPress(byId(id), () => this.#guard(act))
    beforeLeaving(
      () => this.#at,
      () => client.call('save'),
    )
    this.#stand()
  }

  /** Opens the run that an earlier visit saved, if there is one, and finds the data that it kept. */
  begin(): Promise<void> {
    return this.#guard(() =>
      this.#during('Looking for what an earlier visit saved…', async () => {
        const place = await this.#client.call('savedRun')
        const own = await this.#client.call('ownData')
        if (own) this.#data.offer(own, false)
        if (place === 'elsewhere') this.#view.note(ELSEWHERE)
        if (place === 'here') await this.#resume()
      }),
    )
  }

  /** Why nothing else can be timed now; undefined where it can. */
  get disturbs(): string | undefined {
    if (this.#at.busy !== undefined) return 'the tab Train is using this device; wait until it is ready, then time'
    return this.#at.state.kind === 'running'
      ? 'a run is training on this device; pause it in the tab Train, then time'
      : undefined
  }

  /** Turns everything off where nothing can be computed. @param why says what is missing */
  refuse(why: string): void {
    this.#stand({ busy: why })
  }

  /** Takes what the worker tells. */
  hear(message: Told): void {
    if (message.kind === 'note') this.#view.note(message.text)
    else if (message.kind === 'state') this.#changed(message.state)
    else if (message.kind === 'progress')
      showStatus(`${message.what}: ${message.done.toLocaleString('en')} of ${message.of.toLocaleString('en')}…`)
    else if (this.#at.run) {
      addMetrics(this.#at.run, message.metrics)
      this.#at.run.step = message.step
      this.#view.update(message)
      if (this.#at.state.kind === 'running') this.#progressed(this.#at.run)
    }
  }

  async #resume(): Promise<void> {
    this.#at.unopened = true
    showStatus('Opening the run that was saved here…')
    try {
      this.#opened(await this.#client.call('resume'))
    } catch (error) {
      this.#trouble(error, { label: 'Try again', run: () => this.#guard(() => this.#during('Opening…', () => this.#resume())) })
    }
  }

  /** Takes files that a visitor gives: a checkpoint, or data. */
  async #take(files: GivenFile[]): Promise<void> {
    if (this.#at.busy !== undefined)
      throw new Error('the files were not taken, since the page is busy; give them again when it is ready')
    const checkpoint = files.find(({ path }) => /\.safetensors$/i.test(path))
    if (checkpoint && files.length > 1) throw new Error('give a checkpoint alone, without other files')
    if (checkpoint) return this.#openCheckpoint(checkpoint)
    if (this.#at.run) throw new Error('a run is open; save its checkpoint if you like, press Reset, then give other data')
    await this.#during('Reading the files…', async () => {
      this.#data.offer(await this.#client.call('takeData', files), true)
      this.#at.idle = 'The data is here; Start trains on it.'
      // The run that could not be opened may have waited for this data.
      if (this.#at.unopened) await this.#resume()
    })
  }

  async #openCheckpoint({ path, file }: GivenFile): Promise<void> {
    if (!(await mayLose(this.#at))) return
    this.#view.clearNotes()
    await this.#during(`Opening ${path}…`, async () => {
      try {
        const opened = await this.#client.call('openCheckpoint', path, file)
        if ('initial' in opened) this.#beginWith(opened)
        else if ('run' in opened) {
          this.#stand({ downloaded: 0, idle: NO_RUN })
          this.#opened(opened.run)
        } else this.#refused(opened)
      } finally {
        // A checkpoint that did not open may have ended the run before it, which is still saved.
        if (this.#at.run && !(await this.#client.call('isOpen'))) {
          this.#clear()
          if ((await this.#client.call('savedRun')) === 'here') await this.#resume()
        }
      }
    })
  }

  #beginWith({ initial, name }: { initial: Partial<Settings>; name: string }): void {
    this.#form.fix(initial)
    byId('initial').hidden = false
    byId('initial-name').textContent = `The next run begins with the parameters of ${name}.`
    this.#at.idle = 'Choose data, and Start trains the model on it.'
    if (this.#at.run) this.#view.note('Reset this run to begin the next one.')
  }

  async #startOrPause(): Promise<void> {
    if (this.#at.state.kind === 'running') return this.#client.call('pause')
    if (!this.#at.run) {
      const settings = this.#form.read()
      if (!settings) return
      this.#mayTrain()
      if (!(await this.#open(settings))) return
    }
    await this.#train()
  }

  async #train(steps?: number): Promise<void> {
    this.#mayTrain()
    await this.#client.call('run', steps)
  }

  /** @throws Error where something else uses the device */
  #mayTrain(): void {
    const why = this.#others.disturbs()
    if (why !== undefined) throw new Error(why)
  }

  /** Opens a run with these settings. @returns whether it is open */
  #open(settings: Partial<Settings>): Promise<boolean> {
    return this.#during('Preparing: compiling kernels and measuring how branches run fastest…', async () => {
      this.#asked = settings
      return this.#opened(await this.#client.call('open', settings))
    })
  }

  /** Begins anew with other settings. */
  #again(settings: Partial<Settings>): void {
    this.#guard(async () => {
      await this.#discard()
      this.#form.write(settings)
      if (await this.#open(settings)) await this.#train()
    })
  }

  async #reset(): Promise<void> {
    if (!(await mayLose(this.#at))) return
    await this.#discard()
  }

  async #discard(): Promise<void> {
    await this.#during('Ending the run…', () => this.#client.call('discard'))
    await this.#forget()
    this.#clear()
  }

  /** Forgets the model with which the next run would begin. */
  async #forget(): Promise<void> {
    await this.#client.call('forgetInitial')
    this.#form.fix(undefined)
    byId('initial').hidden = true
    this.#stand({ idle: NO_RUN })
  }

  #clear(): void {
    this.#view.clearNotes()
    this.#view.open(undefined)
    this.#stand({ run: undefined, unopened: false, state: NO_STATE, downloaded: 0, idle: NO_RUN })
  }

  async #save(): Promise<void> {
    const step = this.#at.run!.step
    saveAs('checkpoint.safetensors', await this.#client.call('checkpoint'))
    this.#at.downloaded = step
  }

  /** Takes a run that was opened, or says why it was not. @returns whether it is open */
  #opened(run: RunInfo | Refused): boolean {
    if ('refused' in run) {
      this.#refused(run)
      return false
    }
    this.#stand({ run, unopened: false })
    this.#quarters = Math.floor((4 * run.step) / run.totalSteps)
    byId('initial').hidden = true
    this.#form.write(run.settings)
    this.#data.show(run.settings.dataset !== 'mnist')
    this.#view.open(run)
    if (run.leftOut !== undefined) this.#view.note(run.leftOut)
    return true
  }

  #refused(refused: Refused): void {
    // A saved run is not removed for a run with other settings.
    const asked = this.#at.unopened ? undefined : (this.#at.run?.settings ?? this.#asked)
    const { message, action } = offerFor(refused, asked, (settings) => this.#again(settings))
    this.#trouble(message, action)
  }

  #changed(state: RunState): void {
    this.#at.state = state
    if (state.kind === 'failed') {
      if (!this.#at.run) return
      if (state.outOfMemory) this.#refused({ refused: 'outOfMemory', message: state.message })
      else this.#trouble(state.message)
    }
    this.#stand()
    this.#view.draw()
  }

  #progressed(run: RunInfo): void {
    showStatus(sentenceOf(run, this.#at.state))
    const quarters = Math.floor((4 * run.step) / run.totalSteps)
    if (quarters > this.#quarters && quarters < 4) announce(`${25 * quarters} % of the run is trained.`)
    this.#quarters = quarters
  }

  /** Shows how things stand, after a change. */
  #stand(change: Partial<Standing> = {}): void {
    Object.assign(this.#at, change)
    showStanding(this.#at, this.#form, this.#data)
  }

  /** Does what everything else waits for. @param what says it */
  async #during<T>(what: string, work: () => Promise<T>): Promise<T> {
    this.#stand({ busy: what })
    try {
      return await work()
    } finally {
      this.#stand({ busy: undefined })
    }
  }

  async #guard(work: () => Promise<unknown>): Promise<void> {
    clearTrouble('train')
    try {
      await work()
    } catch (error) {
      this.#trouble(error)
    }
  }
}
