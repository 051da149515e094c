import { entries } from '../../kernels/embedSequence/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('embedSequence', entries)
