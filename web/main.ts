import type { BenchTab } from './benchTab.ts'
import { Client } from './client.ts'
import { showDevice } from './deviceTab.ts'
import type { Calls, Told } from './protocol.ts'
import { startTabs } from './tabs.ts'
import { TrainTab } from './trainTab.ts'
import { showTrouble as trouble } from './trouble.ts'
import { TryTab } from './tryTab.ts'

const client = new Client<Calls, Told>('worker.js', (message) => trainTab.hear(message))
const trainTab = new TrainTab(client, trouble)
const tryTab = new TryTab(client, trouble)
// The console of the browser, and the tests, can call the worker too.
Object.assign(globalThis, { paraformer: client })
let benchTab: Promise<BenchTab> | undefined
const showBench = () => {
  // The tab and what it draws are loaded when they are first shown.
  benchTab ??= import('./benchTab.ts').then(({ BenchTab }) => new BenchTab(() => trainTab.disturbs, trouble))
  benchTab.catch((error) => {
    benchTab = undefined
    trouble(error)
  })
}
startTabs({ try: () => tryTab.show(), bench: showBench, device: () => showDevice(client, trouble) })

// A file that is dropped beside a panel must not take the place of the page.
for (const kind of ['dragover', 'drop'] as const) addEventListener(kind, (event) => event.preventDefault())

if (!navigator.gpu) {
  trouble(
    'This browser has no WebGPU, or has it turned off. Chrome and Edge have it from version 113 on, Safari from 26, Firefox from 141 on Windows. ' +
      'On Linux, start Chrome with --enable-unsafe-webgpu --enable-features=Vulkan. The page must come over https or from localhost.',
  )
  trainTab.refuse()
} else {
  client.call('device').then(
    () => trainTab.begin(),
    (error) => {
      trouble(error)
      trainTab.refuse()
    },
  )
}
