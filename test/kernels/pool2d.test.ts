import { entries } from '../../kernels/pool2d/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('pool2d', entries)
