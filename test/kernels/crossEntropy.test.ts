import { entries } from '../../kernels/crossEntropy/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('crossEntropy', entries)
