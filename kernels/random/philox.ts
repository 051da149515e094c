// Philox4x32-10 (Salmon et al., SC 2011) is a counter-based generator: any of its numbers can be computed without its predecessors. The
// WGSL uses the same constants and the same order of words.

const M0 = 0xd2511f53
const M1 = 0xcd9e8d57
const W0 = 0x9e3779b9
const W1 = 0xbb67ae85

/** The upper 32 bits of the unsigned product of two 32-bit words. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff
  const aHigh = a >>> 16
  const bLow = b & 0xffff
  const bHigh = b >>> 16
  const cross = aHigh * bLow + ((aLow * bLow) >>> 16)
  const middle = aLow * bHigh + (cross & 0xffff)
  return (aHigh * bHigh + Math.floor(cross / 0x10000) + Math.floor(middle / 0x10000)) >>> 0
}

type PhiloxCounter = readonly [number, number, number, number]
export type PhiloxKey = readonly [number, number]

/**
 * Computes ten rounds of Philox4x32.
 * @param counter four unsigned 32-bit words
 * @param key two unsigned 32-bit words
 * @returns four unsigned 32-bit random words, a pure function of counter and key
 */
export function philox4x32(counter: PhiloxCounter, key: PhiloxKey): Uint32Array {
  let [c0, c1, c2, c3] = counter
  let [k0, k1] = key
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(M0, c0 >>> 0)
    const low0 = Math.imul(M0, c0)
    const high1 = mulHigh(M1, c2 >>> 0)
    const low1 = Math.imul(M1, c2)
    c0 = high1 ^ c1 ^ k0
    c1 = low1
    c2 = high0 ^ c3 ^ k1
    c3 = low0
    k0 = (k0 + W0) >>> 0
    k1 = (k1 + W1) >>> 0
  }
  return Uint32Array.of(c0, c1, c2, c3)
}
