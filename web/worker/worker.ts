// The worker of the page: it has the device, trains, and answers. What computes is loaded with the first call that needs it, so
// that the page itself is there at once.

import { notLoaded } from '../notLoaded.ts'
import type { Calls, Told } from '../protocol.ts'
import { CHECKPOINT, INDEX } from './kept.ts'
import { serve } from './serve.ts'
import { isKept, ownsStorage } from './storage.ts'

serve<Calls, Told>((tell) => {
  const computing = once(async () => {
    const { Training, Models, OwnData } = await import('./computing.ts')
    const own = new OwnData(tell)
    const training = new Training(tell, own)
    return { own, training, models: new Models(training) }
  })
  const training = async () => (await computing()).training
  const models = async () => (await computing()).models
  return {
    device: async () => (await import('./device.ts')).describeDevice(),
    savedRun: async () => {
      if (!(await ownsStorage())) return 'elsewhere'
      return (await isKept(CHECKPOINT)) ? (await training()).saved() : 'nowhere'
    },
    isOpen: async () => (await training()).isOpen,
    ownData: async () => ((await isKept(INDEX)) ? (await computing()).own.restore() : undefined),
    takeData: async (given) => (await computing()).own.take(given),
    open: async (settings) => (await training()).open(settings),
    resume: async () => (await training()).resume(),
    openCheckpoint: async (name, file) => (await training()).openCheckpoint(name, file),
    forgetInitial: async () => (await training()).forgetInitial(),
    run: async (steps) => (await training()).run(steps),
    pause: async () => (await training()).pause(),
    save: async () => (await training()).save(),
    discard: async () => (await training()).discard(),
    loseDevice: async () => (await training()).loseDevice(),
    checkpoint: async () => (await training()).checkpoint(),
    model: async (source) => (await models()).take(source),
    readImage: async (model, name, file) => (await models()).readImage(model, name, file),
    ask: async (question) => (await models()).ask(question),
  }
})

/** Makes a function that calls `make` at its first call and returns that value ever after; after a failure the next call tries again. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => {
    made ??= make().catch((error) => {
      made = undefined
      throw notLoaded(error)
    })
    return made
  }
}
