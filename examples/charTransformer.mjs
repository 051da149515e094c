// A Transformer of 6 layers that learns the characters of a text, and then writes: node examples/charTransformer.mjs FILE [STEPS]
// @ts-check
import * as pf from 'paraformer'

/** @import { Tensor } from 'paraformer' */

const [D, H, LAYERS, T, B] = [128, 4, 6, 128, 8]

class Block extends pf.Module {
  norm1 = new pf.LayerNorm(D)
  attention = new pf.Attention(D, H, D / H, { qkvBias: true })
  norm2 = new pf.LayerNorm(D)
  mlp = new pf.Mlp(D, 4 * D)

  /** @param {Tensor} x [B, T, D] */
  forward(x) {
    const y = this.attention.forward(this.norm1.forward(x), x, undefined, { causal: true }) // [B, T, D]
    return this.mlp.forward(this.norm2.forward(y), y)
  }
}

class CharTransformer extends pf.Module {
  /** @param {number} characters */
  constructor(characters) {
    super()
    this.tokens = new pf.Embedding(characters, D)
    this.positions = new pf.Embedding(T, D)
    this.blocks = new pf.Sequential(...Array.from({ length: LAYERS }, () => new Block()))
    this.norm = new pf.LayerNorm(D)
    this.head = new pf.Linear(D, characters)
  }

  /** @param {Tensor} ids int32 [B, T] */
  forward(ids) {
    const x = this.tokens.forward(ids).add(this.positions.weight.slice([[0, ids.shape[1]]])) // [B, T, D]
    return this.head.forward(this.norm.forward(this.blocks.forward(x))) // [B, T, characters]
  }
}

// Training: the captured step draws other windows of the text each time that it is replayed.
const text = new TextDecoder().decode(await pf.files.read(process.argv[2] ?? import.meta.filename))
const steps = Number(process.argv[3] ?? 200)
const characters = [...new Set(text)].sort()
const device = await pf.requestDevice()
device.random.seed = 1
const corpus = pf.tensor(Int32Array.from(text, (character) => characters.indexOf(character)))
const model = new CharTransformer(characters.length)
const optimizer = new pf.AdamW(model.namedParameters(), { weightDecay: 0.01 })
const step = pf.capture(() => {
  const starts = pf
    .rand([B, 1])
    .mul(corpus.size - T)
    .cast('int32')
  const places = starts.add(pf.arange(T + 1, { dtype: 'int32' })).minimum(corpus.size - 1) // [B, T + 1]
  const batch = corpus.indexSelect(0, places.flatten()).reshape([B, T + 1])
  const loss = pf.crossEntropy(model.forward(batch.slice([[], [0, T]])), batch.slice([[], [1]]))
  loss.backward()
  optimizer.step(1e-3)
  optimizer.zeroGrad()
  return loss
})
for (let i = 0; i < steps; i++) {
  const loss = await pf.scope(() => step()).item()
  if (i % 20 === 0 || i === steps - 1) console.log(`step ${i}: loss ${loss.toFixed(3)}`)
}

let written = await corpus.slice([[0, 16]]).data()
while (written.length < 100) {
  const logits = pf.noGrad(() => model.forward(pf.tensor(written).unsqueeze(0))) // [1, length, characters]
  const odds = logits
    .slice([[], [-1]])
    .reshape([characters.length])
    .softmax(0)
  written = Int32Array.of(...written, await pf.multinomial(odds, 1).item())
}
console.log(JSON.stringify(Array.from(written, (i) => characters[i]).join('')))
device.destroy()
