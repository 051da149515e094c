/** Markers without a length: TEM, and RST0 to RST7. */
const isBare = (marker: number) => marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)

/**
 * Checks that a JPEG file has an image and an end. The decoders of browsers fill what is missing with gray, and return wrong pixels.
 * @throws Error that says what is missing
 */
export function checkJpeg(bytes: Uint8Array): void {
  let at = 2
  // Segments before the image may hold a whole thumbnail, with an end of its own.
  for (;;) {
    while (bytes[at] === 0xff && bytes[at + 1] === 0xff) at++
    if (at + 4 > bytes.length) throw new Error('it ends before its image')
    const marker = bytes[at + 1]!
    // The decoder judges bytes between segments.
    if (bytes[at] !== 0xff) return
    if (marker === 0xda) break
    at += isBare(marker) ? 2 : 2 + bytes[at + 2]! * 256 + bytes[at + 3]!
  }
  for (let end = bytes.length - 2; end > at; end--) if (bytes[end] === 0xff && bytes[end + 1] === 0xd9) return
  throw new Error('it ends before its last marker')
}
