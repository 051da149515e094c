import { entries } from '../../kernels/exponential/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('exponential', entries)
