const SIGNATURE_BYTES = 8

/**
 * Checks that a PNG file has every chunk up to the last, with its checksum. Decoders skip a damaged chunk of transparency or
 * orientation, and return wrong pixels.
 * @throws Error that names the damaged chunk
 */
export function checkPng(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let at = SIGNATURE_BYTES; ; ) {
    if (at + 12 > bytes.length) throw new Error('it ends before its last chunk')
    const end = at + 8 + view.getUint32(at)
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8)).replace(/[^A-Za-z]/g, '?')
    if (end + 4 > bytes.length) throw new Error(`it ends within chunk ${name}`)
    if (crc32(bytes.subarray(at + 4, end)) !== view.getUint32(end)) throw new Error(`the checksum of chunk ${name} is wrong`)
    if (name === 'IEND') return
    at = end + 4
  }
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let word = byte
  for (let bit = 0; bit < 8; bit++) word = word & 1 ? 0xedb88320 ^ (word >>> 1) : word >>> 1
  return word
})

/** Returns the CRC-32 of a PNG chunk. (Node's zlib has one from 20.15 on, browsers have none.) */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (let i = 0; i < bytes.length; i++) crc = TABLE[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8)
  return ~crc >>> 0
}
