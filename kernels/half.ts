// IEEE 754 binary16, float16: 1 sign bit, 5 exponent bits, 10 fraction bits. Not every JavaScript engine has an array of it.

const bits = new Uint32Array(1)
const single = new Float32Array(bits.buffer)

/**
 * The bits of the float16 nearest to a number that is first rounded to float32. Ties go to even; numbers that round beyond 65504
 * become infinity.
 */
export function toHalf(value: number): number {
  single[0] = value
  const word = bits[0]!
  const sign = (word >>> 16) & 0x8000
  const magnitude = word & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00
  // 65520 and above are nearer to the next power of two than to 65504.
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  // Below 2^-14 a float16 is a whole multiple of 2^-24.
  if (magnitude < 0x38800000) return sign | roundEven(Math.abs(single[0]!) * 2 ** 24)
  // The exponent is rebiased and 13 bits are rounded off. A carry goes on into the exponent as it should.
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
}

function roundEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor
}

/** The number of a float16, from its bits. */
export function fromHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >> 10) & 31
  const fraction = half & 1023
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25)
}

/** The bits of numbers as float16. */
export function toHalves(values: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  const halves = new Uint16Array(values.length)
  writeHalves(values, halves)
  return halves
}

/** As `toHalf` for each number, in one loop without calls, since messages between machines have hundreds of thousands. */
function writeHalves(values: ArrayLike<number>, halves: Uint16Array): void {
  const floats = values instanceof Float32Array ? values : Float32Array.from(values)
  const words = new Uint32Array(floats.buffer, floats.byteOffset, floats.length)
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!
    const sign = (word >>> 16) & 0x8000
    const magnitude = word & 0x7fffffff
    if (magnitude < 0x38800000) {
      // Numbers from 0.5 on to 1 are multiples of 2^-24, so the sum rounds to one, ties to even.
      single[0] = Math.abs(floats[i]!) + 0.5
      halves[i] = sign | (bits[0]! - 0x3f000000)
    } else if (magnitude < 0x477ff000) halves[i] = sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
    else halves[i] = sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00)
  }
}

/** The number of every float16, by its bits. */
let numbers: Float32Array | undefined

/** The numbers of float16 bits, which float32 holds exactly. */
export function fromHalves(halves: ArrayLike<number>): Float32Array<ArrayBuffer> {
  numbers ??= Float32Array.from({ length: 2 ** 16 }, (_, half) => fromHalf(half))
  const values = new Float32Array(halves.length)
  for (let i = 0; i < values.length; i++) values[i] = numbers[halves[i]!]!
  return values
}

/** The bits of numbers as float16, padded with a zero to whole words of 4 bytes. */
export function toHalfWords(values: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  const halves = new Uint16Array(2 * Math.ceil(values.length / 2))
  writeHalves(values, halves)
  return halves
}
