import { entries } from '../../kernels/attention/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('attention', entries, { most: 'two' })
