import { entries } from '../../kernels/cumsum/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('cumsum', entries)
