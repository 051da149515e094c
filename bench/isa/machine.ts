/** A GPU as the estimate sees it. */
export interface Machine {
  /** The name that RADV_FORCE_FAMILY takes. */
  family: string
  /** The card whose figures these are. */
  card: string
  computeUnits: number
  /** Clock in GHz: AMD's figure for the clock in games. */
  ghz: number
  /** Bandwidth of the memory in GB/s. */
  gbps: number
  /**
   * Whether a SIMD issues an operation of float32 for 64 lanes in one cycle: 128 multiply-adds a cycle and compute unit (ROCm Compute Profiler,
   * "Workgroup processor", on RDNA 3).
   */
  dualIssue: boolean
  /** Cycles of a SIMD for a product of 16 x 16 x 16 matrices of float16; 0 where it has none. */
  matrixCycles: number
}

/** SIMDs of a compute unit and lanes of each (AMD, "Introducing RDNA Architecture", 2019; the same on RDNA 2 and 3). */
export const SIMDS = 2
export const SIMD_LANES = 32
/** Bytes that a compute unit moves in a cycle from or to workgroup memory, of 32 banks of 4 bytes (the same paper), and its cache of vector memory. */
export const LDS_BYTES = 128
export const CACHE_BYTES = 64
/**
 * Cycles until values of global memory and of workgroup memory arrive, rounded: the former of the cache that all compute units share, since tiles
 * are read by many (Chips and Cheese, "Microbenchmarking AMD's RDNA 3 Graphics Architecture", 2023).
 */
export const MEMORY_LATENCY = 300
export const LDS_LATENCY = 64
/** One-operand functions such as exp, and products of 32-bit integers, take four times as long as others ("RDNA 3 ISA Reference Guide", 2023). */
export const SLOW_RATE = 4

/**
 * The GPUs that can be judged. Compute units, clocks and bandwidth are those of AMD's product pages. The matrix products of RDNA 3 follow from
 * 512 operations of float16 a cycle and compute unit (AMD GPUOpen, "How to accelerate AI applications on RDNA 3 using WMMA", 2023):
 * 2 * 16^3 operations on a SIMD take 32 cycles, which makes 123 TFLOP/s of the card.
 */
export const MACHINES: readonly Machine[] = [
  {
    family: 'navi31',
    card: 'Radeon RX 7900 XTX',
    computeUnits: 96,
    ghz: 2.5,
    gbps: 960,
    dualIssue: true,
    matrixCycles: 32,
  },
  {
    family: 'navi21',
    card: 'Radeon RX 6900 XT',
    computeUnits: 80,
    ghz: 2.25,
    gbps: 512,
    dualIssue: false,
    matrixCycles: 0,
  },
]
