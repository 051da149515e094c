import { entries } from '../../kernels/lion/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('lion', entries)
