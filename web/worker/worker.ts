// The worker of the page: it has the device, trains, and answers.
import type { Reply } from '../../train/pendingCalls.ts'
import type { Call, Calls, Told } from '../protocol.ts'
import { describeDevice } from './device.ts'
import { Models } from './models.ts'
import { Training } from './training.ts'

const tell = (message: Told) => postMessage({ told: message })
const training = new Training(tell)
const models = new Models(training)

const calls: Calls = {
  device: describeDevice,
  savedRun: () => training.saved(),
  open: (settings) => training.open(settings),
  resume: () => training.resume(),
  run: async (steps) => training.run(steps),
  pause: async () => training.pause(),
  discard: () => training.discard(),
  loseDevice: async () => training.loseDevice(),
  checkpoint: () => training.checkpoint(),
  model: (source) => models.take(source),
  ask: (question) => models.ask(question),
}

addEventListener('message', async ({ data: { id, name, args } }: MessageEvent<Call>) => {
  try {
    const value = await (calls[name] as (...args: unknown[]) => Promise<unknown>)(...args)
    postMessage({ reply: { id, value } satisfies Reply<unknown> })
  } catch (error) {
    postMessage({ reply: { id, error } satisfies Reply<unknown> })
  }
})
