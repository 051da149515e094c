import { deepEqual as equal } from 'node:assert/strict'
import { estimate, type Work } from '../../bench/isa/estimate.ts'
import { findFlow } from '../../bench/isa/flow.ts'
import { findHot } from '../../bench/isa/hot.ts'
import { readListing } from '../../bench/isa/listing.ts'
import { MACHINES } from '../../bench/isa/machine.ts'
import { mixOf, widthOf } from '../../bench/isa/mix.ts'
import { workgroupSize } from '../../bench/isa/workgroup.ts'

import { suite } from '../harness/suite.ts'

const { test, run } = suite('reading of machine code')

/** A shader as RADV prints it: a loop of `trips` runs with eight multiply-adds each. */
function sample(trips: string, before = ''): string {
  const fmas = Array.from({ length: 8 }, (_, i) => `\tv_fmac_f32_e32 v${i + 8}, v4, v5                     ; 56000000`)
  const code = [
    'BB0:',
    ...before.split('\n'),
    '\ts_mov_b32 s0, 0                                   ; be800080',
    'BB1:',
    '\tds_load_b128 v[4:7], v1                           ; dbfc0000 04000001',
    '\ts_waitcnt lgkmcnt(0)                              ; bf89fc07',
    ...fmas,
    '\ts_add_u32 s0, s0, 1                               ; 80008100',
    `\ts_cmp_lt_u32 s0, ${trips}                         ; bf0aa000`,
    '\ts_cbranch_scc1 BB1                                ; bfa2fff0',
    'BB2:',
    '\tbuffer_store_b32 v8, v2, s[8:11], 0 offen         ; e0680000',
    '\ts_endpgm                                          ; bfb00000',
  ]
  const figures = { VGPRs: 24, 'Spilled SGPRs': 0, 'Spilled VGPRs': 2, 'Code size': 100, 'LDS size': 512, 'Scratch size': 64 }
  const more = { 'Subgroups per SIMD': 16, Instructions: 15, Latency: 900, 'Inverse Throughput': 80 }
  const lines = Object.entries({ ...figures, ...more }).map(([name, value]) => `${name}: ${value}`)
  return ['Compute Shader', 'disasm:', ...code, 'Compute Shader:', ...lines].join('\n')
}

const WORK: Work = { workgroups: 960, invocations: 64, flops: 0, bytes: 1e6 }

test('figures and blocks of a listing', () => {
  const { blocks, lanes, registers, spilled, scratch, waves, inverseThroughput } = readListing(sample('32'))
  equal([lanes, registers, spilled, scratch, waves, inverseThroughput], [64, 24, 2, 64, 16, 80])
  equal(
    blocks.map(({ label, instructions }) => [label, instructions.length]),
    [
      ['BB0', 1],
      ['BB1', 13],
      ['BB2', 2],
    ],
  )
})

test('a listing without figures is an error', () => {
  let said = ''
  try {
    readListing('BB0:\n\ts_endpgm ; bfb00000\n')
  } catch (error) {
    said = String(error)
  }
  equal(said, 'Error: the driver says nothing of "VGPRs"')
})

test('widths of loads and stores, by the names of RDNA 2 and RDNA 3', () => {
  const names = [
    'buffer_load_b128',
    'buffer_load_dwordx4',
    'buffer_load_dword',
    'ds_read2_b32',
    'ds_load_2addr_b64',
    'ds_read_b128',
  ]
  equal(names.map(widthOf), [16, 16, 4, 8, 16, 16])
  equal(
    ['buffer_load_u16', 'buffer_load_ushort', 'ds_load_u16_d16_hi', 'ds_store_2addr_stride64_b32'].map(widthOf),
    [2, 2, 2, 8],
  )
})

test('counts of an instruction', () => {
  const of = (text: string) => mixOf([{ op: text.split(' ')[0]!, text }])
  equal(
    [of('v_dual_fmac_f32 v0, v1, v2 :: v_dual_fmac_f32 v3, v4, v5')].map(({ fma, dual, valu }) => [fma, dual, valu])[0],
    [2, 1, 1],
  )
  equal(of('v_fmac_f32_dpp v0, v1, v2 quad_perm:[0,0,0,0]').fma, 1)
  equal(of('v_fma_mix_f32 v0, v1, v2, v3').fma, 1)
  equal(of('v_pk_fma_f16 v0, v1, v2, v3').fma, 2)
  equal(of('v_mul_f32_e32 v0, v1, v2').fma, 0)
  equal([of('v_wmma_f32_16x16x16_f16 v[0:7], v[8:15], v[16:23], v[0:7]')].map(({ matrix, fma }) => [matrix, fma])[0], [1, 0])
  equal([of('v_exp_f32_e32 v0, v1')].map(({ functions, slow }) => [functions, slow])[0], [1, 0])
  equal(of('v_mul_lo_u32 v0, v1, s2').slow, 1)
  equal(of('s_waitcnt vmcnt(0)').scalar, 0)
})

test('the hot loop: multiply-adds, density and widths', () => {
  const hot = findHot(findFlow(readListing(sample('32')).blocks))!
  equal([hot.mix.fma, hot.mix.valu, hot.mix.lds, hot.mix.scalar, hot.multiplies], [8, 8, 1, 3, true])
  equal(hot.density, 8 / 9)
  equal([hot.widths.ldsLoads, hot.widths.loads], [[16], []])
})

test('lengths of loops: a number, the smaller of two, a word of the uniform buffer, unknown', () => {
  const trips = (text: string, uniforms: number[] = []) =>
    findFlow(readListing(text).blocks, uniforms).loops.map((loop) => loop.trips)
  equal(trips(sample('32')), [32])
  equal(trips(sample('s5', '\ts_cselect_b64 s[6:7], 0, 0\n\ts_min_u32 s5, 8, s6 ; 0')), [8])
  const load =
    '\ts_load_b128 s[4:7], s[2:3], 0x10 ; 0\n\ts_buffer_load_b64 s[12:13], s[4:7], 0x8 ; 0\n\ts_lshr_b32 s13, s13, 2 ; 0'
  equal(trips(sample('s13', load), [0, 0, 0, 40]), [10])
  equal(trips(sample('s13', load)), [undefined])
})

test('of two alternatives where lanes agree the one with multiply-adds counts, else the shorter one', () => {
  const arms = (first: string, second: string) => {
    const code = `BB0:\n\ts_cbranch_scc0 BB2\nBB1:\n${first}\n\ts_branch BB3\nBB2:\n${second}\nBB3:\n\ts_endpgm`
    const blocks = readListing(code + sample('1').slice(sample('1').indexOf('\nCompute Shader:'))).blocks
    return findFlow(blocks).counted
  }
  const [long, short] = ['\tv_mov_b32 v1, v2\n\tv_mov_b32 v3, v4', '\tv_mov_b32 v1, v2']
  equal(arms(long, short), [true, false, true, true])
  equal(arms(short, long), [true, true, false, true])
  equal(arms(Array(6).fill('\tv_fmac_f32_e32 v0, v1, v2').join('\n'), short), [true, true, false, true])
})

test('an estimate: work that the code tells, work that follows from the operations, waves that wait', () => {
  const machine = MACHINES[0]!
  const of = (text: string, work: Work) => {
    const listing = readListing(text)
    const flow = findFlow(listing.blocks)
    return estimate(listing, flow, findHot(flow)!.loop, work, machine)
  }
  const known = of(sample('32'), WORK)
  // 32 runs of 8 multiply-adds of one cycle each on 5 waves, since 960 of one wave meet 192 SIMDs.
  equal(Number(known.busy.vector.toFixed(6)), (5 * 32 * 8) / 2500)
  const asked = of(sample('s9', '\ts_cselect_b64 s[8:9], 0, 0'), { ...WORK, flops: 960 * 64 * 32 * 16 })
  equal(Number(asked.busy.vector.toFixed(6)), (5 * 32 * 8) / 2500)
  equal(of(sample('1'), { ...WORK, bytes: 1e9 }).bound, 'memory')
  equal(of(sample('64'), { ...WORK, workgroups: 1 }).bound, 'latency')
})

test('sizes of workgroups', () => {
  equal(workgroupSize('const W: u32 = 64u;\n@compute @workgroup_size(W)\nfn main() {}'), [64, 1, 1])
  equal(workgroupSize('const A = 4;\nconst B: u32 = A * (2u + 6u);\n@compute @workgroup_size(B, 8, 1) fn f() {}'), [32, 8, 1])
  equal(workgroupSize('override w: u32 = 8;\n@workgroup_size(w) @compute fn main() {}', 'main', { w: 16 }), [16, 1, 1])
  equal(workgroupSize('@compute @workgroup_size(N) fn main() {}'), undefined)
})

run()
