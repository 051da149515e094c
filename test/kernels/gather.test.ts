import { entries } from '../../kernels/gather/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('gather', entries)
