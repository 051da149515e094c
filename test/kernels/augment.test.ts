import { entries } from '../../kernels/augment/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('augment', entries)
