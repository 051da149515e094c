import { entries } from '../../kernels/softmax/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('softmax', entries)
