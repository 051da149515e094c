import { entries } from '../../kernels/pairwise/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('pairwise', entries)
