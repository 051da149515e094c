// A Transformer of 6 layers that learns to write, character by character, and then writes: node examples/charTransformer.mjs FILE [STEPS]
// @ts-check
import * as pf from 'paraformer'

/** @import { Tensor } from 'paraformer' */

const [D, H, LAYERS, T, B] = [128, 4, 6, 128, 8]

class Block extends pf.Module {
  norm1 = new pf.LayerNorm(D)
  qkv = new pf.Linear(D, 3 * D)
  out = new pf.Linear(D, D)
  norm2 = new pf.LayerNorm(D)
  mlp = new pf.Mlp(D, 4 * D)

  /** @param {Tensor} x [B, T, D] */
  forward(x) {
    const [B = 1, T = 1] = x.shape
    const heads = this.qkv
      .forward(this.norm1.forward(x))
      .reshape([B, T, 3, H, D / H])
      .permute([2, 0, 3, 1, 4]) // [3, B, H, T, Dh]
    const [q, k, v] = /** @type {[Tensor, Tensor, Tensor]} */ (heads.chunk(3, 0).map((t) => t.squeeze(0)))
    const seen = pf.scaledDotProductAttention(q, k, v, { causal: true }).transpose(1, 2).reshape([B, T, D])
    const y = this.out.forward(seen, { residual: x }) // [B, T, D]
    return this.mlp.forward(this.norm2.forward(y), y)
  }
}

class CharTransformer extends pf.Module {
  /** @param {number} characters */
  constructor(characters) {
    super()
    this.tokens = new pf.Embedding(characters, D)
    this.positions = new pf.Embedding(T, D)
    this.blocks = Array.from({ length: LAYERS }, () => new Block())
    this.norm = new pf.LayerNorm(D)
    this.head = new pf.Linear(D, characters)
  }

  /** @param {Tensor} ids int32 [B, T] */
  forward(ids) {
    const x = this.tokens.forward(ids).add(this.positions.weight.slice([[0, ids.shape[1]]])) // [B, T, D]
    return this.head.forward(this.norm.forward(this.blocks.reduce((z, block) => block.forward(z), x))) // [B, T, characters]
  }
}

// Training: AdamW with a warm-up and half a cosine, in one captured step.
const text = new TextDecoder().decode(await pf.files.read(process.argv[2] ?? import.meta.filename))
const steps = Number(process.argv[3] ?? 200)
const characters = [...new Set(text)].sort()
const ids = Int32Array.from(text, (character) => characters.indexOf(character))
const device = await pf.requestDevice()
device.random.seed = 1
const model = new CharTransformer(characters.length)
const optimizer = new pf.AdamW(model.namedParameters(), { weightDecay: 0.01 })
const lr = pf.schedule('cosine', { lr: 1e-3, warmup: Math.ceil(steps / 10), total: steps })
const step = pf.capture((/** @type {Tensor} */ batch) => {
  const loss = pf.crossEntropy(model.forward(batch.slice([[], [0, T]])), batch.slice([[], [1, T + 1]]))
  loss.backward()
  optimizer.step(optimizer.lr)
  optimizer.zeroGrad()
  return loss
})
const [count, range] = [B * (T + 1), ids.length - T - 1]
for (let i = 0; i < steps; i++) {
  optimizer.lr = lr(i)
  const start = (/** @type {number} */ b) => (b * 7919 + i * 104729) % range
  const batch = Int32Array.from({ length: count }, (_, at) => ids[start(Math.floor(at / (T + 1))) + (at % (T + 1))] ?? 0)
  const loss = await pf.scope(() => step(pf.tensor(batch, { shape: [B, T + 1] }))).item()
  if (i % 20 === 0 || i === steps - 1) console.log(`step ${i}: loss ${loss.toFixed(3)}`)
}

const written = [...ids.subarray(0, 16)]
while (written.length < 120) {
  const logits = pf.noGrad(() => model.forward(pf.tensor(Int32Array.from(written), { shape: [1, written.length] })))
  const next = pf.multinomial(
    logits
      .slice([[], [-1]])
      .flatten()
      .softmax(0),
    1,
  )
  written.push(await next.item())
}
console.log(JSON.stringify(written.map((i) => characters[i]).join('')))
device.destroy()
