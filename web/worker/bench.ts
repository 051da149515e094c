// The worker of the tab Bench. It runs `paraformer bench` on a device of its own, apart from the one that trains.
import { budgetOf } from '../../bench/doBench.ts'
import { runBench } from '../../bench/runBench.ts'
import { selectTargets } from '../../bench/select.ts'
import { requestDevice } from '../../engine/index.ts'
import type { BenchCalls, BenchTold } from '../benchProtocol.ts'
import { serve } from './serve.ts'

let stopped = false

serve<BenchCalls, BenchTold>((tell) => ({
  async bench({ groups, filter, quick }) {
    stopped = false
    const device = await requestDevice()
    try {
      const targets = selectTargets(device.capabilities, { names: groups, filter, quick })
      return await runBench(device, targets, {
        budget: budgetOf(device.capabilities.software, quick),
        flush: !quick,
        quick,
        onProgress: (done, what) => tell({ done, of: targets.length, what }),
        shouldStop: () => stopped,
      })
    } finally {
      device.destroy()
    }
  },
  async stop() {
    stopped = true
  },
}))
