import type { LoadOptions } from '../data/datasets.ts'
import { Progress } from './progress.ts'

/** Loads a data set, and shows the progress of decoding its files, if there are some to decode. */
export async function decoding<T>(load: (hooks: Pick<LoadOptions, 'onProgress'>) => Promise<T>): Promise<T> {
  let progress: Progress | undefined
  try {
    return await load({
      onProgress(done, of) {
        progress ??= new Progress({ total: of })
        progress.update(done, `${done}/${of} files decoded`)
      },
    })
  } finally {
    progress?.stop()
  }
}
