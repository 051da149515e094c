/** Images, normalised, row-major [B, C, H, W], with their classes [B]. */
export interface LabelledImages {
  images: Float32Array
  labels: Int32Array
}

/** A part of a mini-batch; `share` is how much of it. */
export interface BatchPart extends LabelledImages {
  share: number
}

/** Cuts a mini-batch into `parts` parts of about the same size, without copies. */
export function partsOf({ images, labels }: LabelledImages, parts: number): BatchPart[] {
  const B = labels.length
  const pixels = images.length / B
  const size = Math.ceil(B / parts)
  return Array.from({ length: Math.ceil(B / size) }, (_, i) => {
    const [from, to] = [i * size, Math.min(B, (i + 1) * size)]
    return { images: images.subarray(from * pixels, to * pixels), labels: labels.subarray(from, to), share: (to - from) / B }
  })
}
