/** The kind of an instruction, as its name says. Names of LLVM's disassembler for RDNA 2 (`dwordx4`) and RDNA 3 (`b128`). */
export interface Instruction {
  /** The name, such as `v_fmac_f32_e32`. */
  op: string
  text: string
}

/** Counts of instructions. They are fractions where a block counts for a part of its runs. */
export interface Mix {
  /** Vector instructions, matrix products among them; two that are issued together (`v_dual_…`) are one. */
  valu: number
  /** Multiply-adds of a lane, and floating-point operations, of which each has two. */
  fma: number
  flops: number
  /** Products of 16 x 16 matrices. */
  matrix: number
  /** Instructions that hold two operations. */
  dual: number
  /** Vector instructions by what they cost: those of one pass even for 64 lanes on RDNA 3, of a quarter rate, of the unit for functions. */
  fast: number
  slow: number
  functions: number
  /** Instructions of workgroup memory (and of lanes' exchange through its crossbar), and the bytes of a lane. */
  lds: number
  ldsBytes: number
  /** Loads and stores of global memory, and the bytes of a lane. */
  loads: number
  loadBytes: number
  stores: number
  storeBytes: number
  scratch: number
  scratchBytes: number
  scalar: number
  /** Waits for memory, of global and of workgroup memory or scalar loads. */
  waits: number
  ldsWaits: number
}

/** Returns counts of nothing. */
export function noMix(): Mix {
  return {
    valu: 0,
    fma: 0,
    flops: 0,
    matrix: 0,
    dual: 0,
    fast: 0,
    slow: 0,
    functions: 0,
    lds: 0,
    ldsBytes: 0,
    loads: 0,
    loadBytes: 0,
    stores: 0,
    storeBytes: 0,
    scratch: 0,
    scratchBytes: 0,
    scalar: 0,
    waits: 0,
    ldsWaits: 0,
  }
}

/** Adds counts, each times a weight, to others. */
export function addMix(to: Mix, from: Mix, weight = 1): void {
  for (const key of Object.keys(to) as (keyof Mix)[]) to[key] += weight * from[key]
}

/** A multiply-add in the text of an instruction; one of two halves counts one each. */
const FMA = /\bv_(?:dual_)?(?:fmac|fma|fmaak|fmamk|mad|mac|fma_mix\w*)_(?:legacy_)?f(?:16|32)\w*/g
const ONE = /\bv_(?:dual_)?(?:mul|add|sub|subrev)_f(?:16|32)\w*/g
const PACKED_FMA = /^v_pk_fma/
const MATRIX = /^v_(?:wmma|mfma)/
/** Operations that RDNA 3 issues for both halves of 64 lanes at once: those that may stand in a dual instruction. */
const FAST =
  /^v_(?:fmac|fma|fmaak|fmamk|mul|add|sub|subrev|max|min)_f32|^v_(?:mov_b32|cndmask_b32|add_nc_u32|lshlrev_b32|and_b32)(?:_e\d\d)?$|^v_fma(?:ak|mk)_f32/
/** Products of 32-bit integers and what has 64 bits. */
const SLOW = /^v_(?:mul_lo|mul_hi|mad_u64|mad_i64|fma_f64|add_f64|mul_f64)/
const FUNCTIONS = /^v_(?:exp|log|rcp|rsq|sqrt|sin|cos)_/
const GLOBAL = /^(?:buffer|global|flat|image)_/
/** Scalar instructions that the front of the pipeline takes by itself. */
const FREE = /^s_(?:nop|waitcnt|delay_alu|clause|inst_prefetch|set_inst_prefetch_distance|sleep)/

/** Counts a run of instructions, such as a block. */
export function mixOf(instructions: readonly Instruction[]): Mix {
  const mix = noMix()
  // Loads that are on their way; a wait counts where there is one to wait for.
  let global = false
  let near = false
  for (const { op, text } of instructions) {
    if (op.startsWith('v_')) countVector(mix, op, text)
    else if (op.startsWith('ds_')) {
      mix.lds++
      mix.ldsBytes += widthOf(op)
      near = true
    } else if (op.startsWith('scratch_')) {
      mix.scratch++
      mix.scratchBytes += widthOf(op)
      global = true
    } else if (GLOBAL.test(op)) {
      const stores = /_store|_atomic/.test(op)
      mix[stores ? 'stores' : 'loads']++
      mix[stores ? 'storeBytes' : 'loadBytes'] += widthOf(op)
      global ||= !stores
    } else if (op.startsWith('s_')) {
      if (!FREE.test(op)) mix.scalar++
      if (/^s_(?:buffer_)?load/.test(op)) near = true
      if (!/^s_waitcnt$/.test(op)) continue
      if (global && text.includes('vmcnt')) {
        mix.waits++
        global = false
      }
      if (near && text.includes('lgkmcnt')) {
        mix.ldsWaits++
        near = false
      }
    }
  }
  return mix
}

function countVector(mix: Mix, op: string, text: string): void {
  mix.valu++
  if (MATRIX.test(op)) {
    mix.matrix++
    return
  }
  if (op.startsWith('v_dual_')) mix.dual++
  const fma = PACKED_FMA.test(op) ? 2 : (text.match(FMA)?.length ?? 0)
  mix.fma += fma
  mix.flops += 2 * fma + (text.match(ONE)?.length ?? 0)
  if (FUNCTIONS.test(op)) mix.functions++
  else if (SLOW.test(op)) mix.slow++
  else if (FAST.test(op) || op.startsWith('v_dual_')) mix.fast++
}

/** Returns the bytes of a lane that a load or a store of vector memory moves. */
export function widthOf(op: string): number {
  const pair = /_?(?:2addr|2st64|2)(?:_stride64)?_/.test(op.replace(/^ds_(?:read|write|load|store)(?:xchg)?/, '')) ? 2 : 1
  const bits = /_[bui](8|16|32|64|96|128)(?:_|$)/.exec(op)
  if (bits) return (pair * Number(bits[1])) / 8
  const words = /_dword(?:x(\d))?/.exec(op)
  if (words) return 4 * Number(words[1] ?? 1)
  if (/byte/.test(op)) return 1
  if (/short|_d16/.test(op)) return 2
  const format = /_format_(x+y*z*w*)/.exec(op)
  return format ? 4 * format[1]!.length : 4
}
