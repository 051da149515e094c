import type { Tensor } from '../engine/index.ts'

/**
 * Cuts images into non-overlapping square patches: a view until it is copied once by the last reshape.
 * @param images [B, C, H, W], H and W multiples of `size`
 * @returns [B, T, size * size * C], patches row by row; inside a patch the order is (row, column, channel)
 */
export function patches(images: Tensor, size: number): Tensor {
  const [B, C, H, W] = images.shape as [number, number, number, number]
  const [rows, columns] = [H / size, W / size]
  return images
    .reshape([B, C, rows, size, columns, size]) // [B, C, rows, size, columns, size]
    .permute([0, 2, 4, 3, 5, 1]) // [B, rows, columns, size, size, C]
    .reshape([B, rows * columns, size * size * C]) // [B, T, size * size * C]
}
