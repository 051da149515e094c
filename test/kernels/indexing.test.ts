import { entries } from '../../kernels/indexing/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('indexing', entries)
