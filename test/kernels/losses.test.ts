import { entries } from '../../kernels/losses/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('losses', entries)
