import type { DecodedImage } from './types.ts'

/** Decodes an image file with the browser's decoder, see `Platform.decodeImage`. 16-bit samples are rounded as the browser does. */
export async function decodeImage(bytes: Uint8Array, mostPixels: number): Promise<DecodedImage> {
  const blob = new Blob([bytes as Uint8Array<ArrayBuffer>])
  // The browser has bounds of its own, before it decodes.
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none', imageOrientation: 'from-image' })
  try {
    const { width, height } = bitmap
    if (width * height > mostPixels) throw new Error(`${width}x${height} pixels`)
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })!
    context.fillStyle = 'black'
    context.fillRect(0, 0, width, height)
    context.drawImage(bitmap, 0, 0)
    const { data: rgba } = context.getImageData(0, 0, width, height)
    const data = new Uint8Array(width * height * 3)
    for (let from = 0, to = 0; to < data.length; from += 4) {
      for (let c = 0; c < 3; c++) data[to++] = rgba[from + c]!
    }
    return { data, channels: 3, width, height }
  } finally {
    bitmap.close()
  }
}
