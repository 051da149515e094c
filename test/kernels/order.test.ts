import { entries } from '../../kernels/order/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('order', entries)
