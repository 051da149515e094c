import { entries } from '../../kernels/algebraic/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('algebraic', entries)
