import { entries } from '../../kernels/lerp/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('lerp', entries)
