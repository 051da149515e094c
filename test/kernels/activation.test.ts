import { entries } from '../../kernels/activation/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('activation', entries)
