import { entries } from '../../kernels/reduce/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('reduce', entries)
