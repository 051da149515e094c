import { entries } from '../../kernels/elementwise/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('elementwise', entries)
