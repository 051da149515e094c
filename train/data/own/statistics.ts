/**
 * Computes mean and population standard deviation of each channel, for pixels in [0, 1], in float64 from counts of the byte values. A
 * channel whose pixels are all equal gets a deviation of 1, with which it is normalised to 0. No file keeps the result for another run,
 * since it takes a small part of the time in which the images are decoded.
 * @param images uint8 [count, channels, pixels]
 */
export function channelStatistics(images: Uint8Array, channels: number, pixels: number): { mean: number[]; std: number[] } {
  const counts = Array.from({ length: channels }, () => new Float64Array(256))
  for (let at = 0; at < images.length; ) {
    for (const ofChannel of counts) {
      for (const end = at + pixels; at < end; at++) ofChannel[images[at]!]!++
    }
  }
  const number = images.length / channels
  const mean: number[] = []
  const std: number[] = []
  for (const ofChannel of counts) {
    const average = ofChannel.reduce((sum, count, byte) => sum + count * byte, 0) / number
    const variance = ofChannel.reduce((sum, count, byte) => sum + count * (byte - average) ** 2, 0) / number
    mean.push(average / 255)
    std.push(variance > 0 ? Math.sqrt(variance) / 255 : 1)
  }
  return { mean, std }
}
