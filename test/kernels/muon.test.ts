import { entries } from '../../kernels/muon/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('muon', entries)
