import { entries } from '../../kernels/conv2d/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('conv2d', entries, { most: 'values' })
