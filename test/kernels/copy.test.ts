import { entries } from '../../kernels/copy/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('copy', entries)
