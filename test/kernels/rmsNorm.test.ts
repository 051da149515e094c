import { entries } from '../../kernels/rmsNorm/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('rmsNorm', entries)
