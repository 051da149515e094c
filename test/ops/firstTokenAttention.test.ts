import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { firstTokenAttention } from '../../engine/ops/firstTokenAttention.ts'
import type { Tensor } from '../../engine/tensor/tensor.ts'
import { assertShapeError, checkOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('firstTokenAttention')

interface Dims {
  B: number
  N: number
  D: number
  H: number
  Dh: number
}

/** The output and the gradients by plain float64 loops, all row-major. */
function reference(u: Float32Array, w: Float32Array, cotangent: Float32Array, { B, N, D, H, Dh }: Dims) {
  const inner = H * Dh
  const out = new Float64Array(B * inner)
  const du = new Float64Array(u.length)
  const dw = new Float64Array(w.length)
  const projected = (b: number, n: number, row: number) => {
    let sum = 0
    for (let d = 0; d < D; d++) sum += u[(b * N + n) * D + d]! * w[row * D + d]!
    return sum
  }
  /** Adds to du and dw what the gradient of projected(b, n, row) contributes. */
  const project = (b: number, n: number, row: number, gradient: number) => {
    for (let d = 0; d < D; d++) {
      du[(b * N + n) * D + d]! += gradient * w[row * D + d]!
      dw[row * D + d]! += gradient * u[(b * N + n) * D + d]!
    }
  }
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      const lane = (block: number, i: number) => block * inner + h * Dh + i
      const head = Array.from({ length: Dh }, (_, i) => i)
      const q = head.map((i) => projected(b, 0, lane(0, i)))
      const k = Array.from({ length: N }, (_, n) => head.map((i) => projected(b, n, lane(1, i))))
      const v = Array.from({ length: N }, (_, n) => head.map((i) => projected(b, n, lane(2, i))))
      const scores = k.map((row) => row.reduce((sum, value, i) => sum + value * q[i]!, 0) * Dh ** -0.5)
      const top = Math.max(...scores)
      const weights = scores.map((score) => Math.exp(score - top))
      const total = weights.reduce((sum, weight) => sum + weight, 0)
      const p = weights.map((weight) => weight / total)
      const g = head.map((i) => cotangent[b * inner + h * Dh + i]!)
      for (const i of head) out[b * inner + h * Dh + i] = p.reduce((sum, weight, n) => sum + weight * v[n]![i]!, 0)
      const dp = v.map((row) => row.reduce((sum, value, i) => sum + value * g[i]!, 0))
      const mean = p.reduce((sum, weight, n) => sum + weight * dp[n]!, 0)
      for (let n = 0; n < N; n++) {
        const ds = p[n]! * (dp[n]! - mean) * Dh ** -0.5
        for (const i of head) {
          project(b, 0, lane(0, i), ds * k[n]![i]!)
          project(b, n, lane(1, i), ds * q[i]!)
          project(b, n, lane(2, i), p[n]! * g[i]!)
        }
      }
    }
  }
  return { out, du, dw }
}

for (const dims of [
  { B: 2, N: 9, D: 37, H: 5, Dh: 7 },
  { B: 3, N: 17, D: 64, H: 4, Dh: 16 },
  { B: 1, N: 1, D: 5, H: 1, Dh: 3 },
  { B: 2, N: 33, D: 31, H: 2, Dh: 16 },
]) {
  const { B, N, D, H, Dh } = dims
  const inner = H * Dh
  const u = normals(B * N * D, 1)
  const w = normals(3 * inner * D, 2).map((value) => value / Math.sqrt(D))
  const cotangent = normals(B * inner, 3)
  const { out, du, dw } = reference(u, w, cotangent, dims)
  const expected = { shape: [B, 1, inner], output: out, cotangent, gradients: [du, dw] }
  for (const [kind, make] of [
    ['contiguous', leaf],
    ['strided', stridedLeaf],
  ] as const) {
    test(`B ${B}, N ${N}, D ${D}, ${H} heads of ${Dh}, ${kind}`, async () => {
      const inputs: Tensor[] = [make(u, [B, N, D]), leaf(w, [3 * inner, D])]
      await checkOp('firstTokenAttention', (x, weight) => firstTokenAttention(x, weight, H), inputs, expected)
    })
  }
}

test('refuses what does not fit', () => {
  const u = leaf(normals(12, 1), [1, 3, 4])
  assertShapeError(() => firstTokenAttention(u, leaf(normals(24, 1), [6, 4]), 4), 'firstTokenAttention: got float32 [1, 3, 4]')
  assertShapeError(() => firstTokenAttention(u, leaf(normals(30, 1), [6, 5]), 1), 'takes [B, N, D]')
})

test('ends', () => device.destroy())
run()
