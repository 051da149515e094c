import { entries } from '../../kernels/planeNorm/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('planeNorm', entries)
