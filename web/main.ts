import type { BenchTab } from './benchTab.ts'
import { Client } from './client.ts'
import { showDevice } from './deviceTab.ts'
import { byId } from './dom.ts'
import { notLoaded } from './notLoaded.ts'
import type { Calls, Told } from './protocol.ts'
import { startTabs } from './tabs.ts'
import { TrainTab } from './trainTab.ts'
import { pageTrouble, showTroubleOf, troubleOf } from './trouble.ts'
import { TryTab } from './tryTab.ts'

const NO_WEBGPU =
  'This browser has no WebGPU, or has it turned off. Chrome and Edge have it from version 113 on, Safari from 26, Firefox from 141 on Windows. ' +
  'On Linux, start Chrome with --enable-unsafe-webgpu --enable-features=Vulkan. The page must come over https or from localhost.'

byId('not-loaded').hidden = true
const client = new Client<Calls, Told>('worker.js', (message) => trainTab.hear(message))
let bench: BenchTab | undefined
const trainTab: TrainTab = new TrainTab(client, troubleOf('train'), {
  disturbs: () =>
    bench?.isRunning ? 'the tab Bench is timing on this device; wait until it has ended, or cancel it' : undefined,
})
const tryTab = new TryTab(client, troubleOf('try'))
// The console of the browser, and the tests, can call the worker too.
Object.assign(globalThis, { paraformer: client })
let benchTab: Promise<BenchTab> | undefined
const showBench = async () => {
  const trouble = troubleOf('bench')
  // The tab and what it draws are loaded when they are first shown.
  benchTab ??= import('./benchTab.ts').then(({ BenchTab }) => new BenchTab(() => trainTab.disturbs, trouble))
  try {
    bench = await benchTab
  } catch (error) {
    benchTab = undefined
    trouble(notLoaded(error))
  }
}
const shows: Partial<Record<string, () => void>> = {
  try: () => tryTab.show(),
  bench: showBench,
  device: () => showDevice(client, troubleOf('device')),
}
startTabs((panel) => {
  showTroubleOf(panel)
  shows[panel]?.()
})

// A file that is dropped beside a panel must not take the place of the page.
for (const kind of ['dragover', 'drop'] as const) addEventListener(kind, (event) => event.preventDefault())

/** Turns off what computes. @param why says in a line what is missing */
function refuse(why: string, error: unknown): void {
  pageTrouble(error)
  trainTab.refuse(why)
  tryTab.refuse(why)
}

if (!navigator.gpu) refuse('Training and answers take WebGPU.', NO_WEBGPU)
else {
  client.call('device').then(
    () => trainTab.begin(),
    (error) => refuse('Nothing can be computed here; the line above says why.', error),
  )
}
