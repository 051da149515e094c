import { entries } from '../../kernels/sgd/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('sgd', entries)
