/** Normalised images, row-major [B, C, H, W], with their classes [B]. */
export interface LabelledImages {
  images: Float32Array
  labels: Int32Array
}

/** A part of a mini-batch in host memory, with its share of the mini-batch's images. */
export interface HostMicroBatch extends LabelledImages {
  share: number
}

/** Divides B images into at most `count` parts of about the same size. */
export function partsOf(B: number, count: number): { from: number; to: number; share: number }[] {
  const size = Math.ceil(B / count)
  return Array.from({ length: Math.ceil(B / size) }, (_, i) => {
    const [from, to] = [i * size, Math.min(B, (i + 1) * size)]
    return { from, to, share: (to - from) / B }
  })
}

/** Cuts a mini-batch into at most `count` micro-batches of about the same size, without copies. */
export function splitBatch({ images, labels }: LabelledImages, count: number): HostMicroBatch[] {
  const pixels = images.length / labels.length
  return partsOf(labels.length, count).map(({ from, to, share }) => {
    return { images: images.subarray(from * pixels, to * pixels), labels: labels.subarray(from, to), share }
  })
}
