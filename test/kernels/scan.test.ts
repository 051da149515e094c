import { entries } from '../../kernels/scan/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('scan', entries)
