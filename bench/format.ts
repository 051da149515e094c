import type { Ceilings } from './ceilings.ts'

/** Returns the ceilings in one line. */
export function ceilingLine({ gflops, matrixGflops, gbps, dispatch, submit, readback }: Ceilings): string {
  const matrices = matrixGflops === undefined ? '' : ` (float16 matrices ${significant(matrixGflops)})`
  return (
    `ceilings: ${significant(gflops)} GFLOP/s${matrices}, ${significant(gbps)} GB/s, ${significant(dispatch)} µs a dispatch, ` +
    `${significant(submit)} µs a submit, ${significant(readback)} µs to read 4 KB`
  )
}

/** Formats a number in three significant digits, from 1000 on as a whole number; `-` for one that is not finite. */
export function significant(value: number): string {
  if (!Number.isFinite(value)) return '-'
  return value === 0 || Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)))
}
