import { entries } from '../../kernels/adamW/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('adamW', entries)
