import { entries } from '../../kernels/fold/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('fold', entries)
