import { entries } from '../../kernels/compare/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('compare', entries)
