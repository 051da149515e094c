import { entries } from '../../kernels/trigonometric/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('trigonometric', entries)
