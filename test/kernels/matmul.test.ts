import { entries } from '../../kernels/matmul/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('matmul', entries, { most: 'values' })
