import { entries } from '../../kernels/layerNorm/index.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'

await runKernelSuite('layerNorm', entries)
