import { entries } from '../../kernels/ema/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('ema', entries)
