/** The content of a JPEG file in which every block of 8 x 8 pixels of a component has one value. */
export interface JpegParts {
  /** Size in pixels: multiples of 8 times the largest sampling factors. */
  width: number
  height: number
  /** One to four components with their ids and sampling factors. */
  components: readonly { id: number; across: number; down: number }[]
  /** The value of a block, 0 to 255, at a column and row of blocks. */
  block: (component: number, x: number, y: number) => number
}

/**
 * Makes a baseline JPEG file without application segments. Its samples are whole numbers, so decoders round only when they convert colours.
 */
export function encodeJpeg({ width, height, components, block }: JpegParts): Uint8Array {
  const mostAcross = Math.max(...components.map(({ across }) => across))
  const mostDown = Math.max(...components.map(({ down }) => down))
  const bits: number[] = []
  const write = (value: number, length: number) => {
    for (let i = length - 1; i >= 0; i--) bits.push((value >> i) & 1)
  }
  const last = components.map(() => 0)
  for (let y = 0; y < height / (8 * mostDown); y++) {
    for (let x = 0; x < width / (8 * mostAcross); x++) {
      for (const [c, { across, down }] of components.entries()) {
        for (let i = 0; i < across * down; i++) {
          const value = block(c, x * across + (i % across), y * down + Math.floor(i / across)) - 128
          const difference = value - last[c]!
          last[c] = value
          const size = 32 - Math.clz32(Math.abs(difference))
          write(size, 4)
          write(difference < 0 ? difference + 2 ** size - 1 : difference, size)
          // This bit ends the block: its other 63 coefficients are 0.
          write(0, 1)
        }
      }
    }
  }
  while (bits.length % 8 > 0) bits.push(1)
  const data: number[] = []
  for (let i = 0; i < bits.length; i += 8) {
    const byte = bits.slice(i, i + 8).reduce((sum, bit) => 2 * sum + bit, 0)
    data.push(byte)
    if (byte === 255) data.push(0)
  }
  const n = components.length
  return new Uint8Array(
    Buffer.concat([
      Buffer.from([0xff, 0xd8]),
      // With a quantization step of 8 the first coefficient is the value of the block.
      segment(0xffdb, [0, ...new Array<number>(64).fill(8)]),
      segment(0xffc0, [
        8,
        ...[height >> 8, height & 255, width >> 8, width & 255, n],
        ...components.flatMap(({ id, across: h, down: v }) => [id, 16 * h + v, 0]),
      ]),
      // The code of the first coefficient's size, 0 to 11, has four bits, and the code of the block's end has one.
      segment(0xffc4, [0, 0, 0, 0, 12, ...new Array<number>(12).fill(0), ...Array.from({ length: 12 }, (_, i) => i)]),
      segment(0xffc4, [16, 1, ...new Array<number>(15).fill(0), 0]),
      segment(0xffda, [n, ...components.flatMap(({ id }) => [id, 0]), 0, 63, 0]),
      Buffer.from(data),
      Buffer.from([0xff, 0xd9]),
    ]),
  )
}

function segment(marker: number, data: ArrayLike<number>): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt16BE(marker)
  head.writeUInt16BE(data.length + 2, 2)
  return Buffer.concat([head, Uint8Array.from(data)])
}

/** The content of an EXIF block with an orientation. */
export function exifOf(orientation: number): Uint8Array {
  const exif = Buffer.alloc(26)
  exif.write('MM', 0, 'latin1')
  exif.writeUInt16BE(42, 2)
  exif.writeUInt32BE(8, 4)
  exif.writeUInt16BE(1, 8)
  exif.writeUInt16BE(0x0112, 10)
  exif.writeUInt16BE(3, 12)
  exif.writeUInt32BE(1, 14)
  exif.writeUInt16BE(orientation, 18)
  return new Uint8Array(exif)
}

/** The JPEG file with another segment after its start marker. */
export function withSegment(jpeg: Uint8Array, marker: number, data: Uint8Array): Uint8Array {
  return new Uint8Array(Buffer.concat([jpeg.subarray(0, 2), segment(marker, data), jpeg.subarray(2)]))
}

/** The JPEG file with an Adobe marker that names a colour transform: 0 none, 1 YCbCr, 2 YCCK. */
export function withAdobe(jpeg: Uint8Array, transform: number): Uint8Array {
  const data = Uint8Array.from([...Buffer.from('Adobe', 'latin1'), 0, 100, 0, 0, 0, 0, transform])
  return withSegment(jpeg, 0xffee, data)
}

/** The JPEG file with an EXIF block that has an orientation. */
export function withOrientation(jpeg: Uint8Array, orientation: number): Uint8Array {
  const data = new Uint8Array(Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), exifOf(orientation)]))
  return withSegment(jpeg, 0xffe1, data)
}
