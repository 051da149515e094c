import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { importViT, loadSafetensors, requestDevice, type SafetensorsEntry, saveSafetensors, tensor } from '../../train/index.ts'
import { expectUserError, runHere } from '../harness/cli.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

await requestDevice()
const { test, run } = suite('weights of other ViTs')
const GOLDEN = 'test/golden/vit'
const folder = mkdtempSync(join(tmpdir(), 'paraformer-vit-'))
const { tensors: answers } = await loadSafetensors(`${GOLDEN}/answers.safetensors`)
const { tensors: weights } = await loadSafetensors(`${GOLDEN}/model.safetensors`)
const images = answers.get('images')!
const logits = answers.get('logits')!.data as Float32Array

/** Imports a folder and compares its logits with those that transformers computed, with and without the work that CLS pooling saves. */
async function answersAsTheirs(path: string): Promise<void> {
  const model = await importViT(path)
  for (const skipDeadTokens of [true, false]) {
    const found = model.forward(tensor(images.data as Float32Array, { shape: images.shape }), { skipDeadTokens })
    assertClose(await found.data(), logits, 1e-5, `logits, ${skipDeadTokens}`)
  }
}

test('a ViTForImageClassification of transformers gives the logits that it gives there', async () => answersAsTheirs(GOLDEN))

test('so do the same weights under the names of timm', async () => {
  const theirs = (name: string) => weights.get(name)!
  const renamed = new Map<string, SafetensorsEntry>()
  const take = (own: string, name: string) => {
    for (const part of ['weight', 'bias']) renamed.set(`${own}.${part}`, theirs(`${name}.${part}`))
  }
  renamed.set('cls_token', theirs('vit.embeddings.cls_token'))
  renamed.set('pos_embed', theirs('vit.embeddings.position_embeddings'))
  take('patch_embed.proj', 'vit.embeddings.patch_embeddings.projection')
  take('norm', 'vit.layernorm')
  take('head', 'classifier')
  for (const l of [0, 1]) {
    const layer = `vit.encoder.layer.${l}`
    take(`blocks.${l}.norm1`, `${layer}.layernorm_before`)
    take(`blocks.${l}.norm2`, `${layer}.layernorm_after`)
    take(`blocks.${l}.attn.proj`, `${layer}.attention.output.dense`)
    take(`blocks.${l}.mlp.fc1`, `${layer}.intermediate.dense`)
    take(`blocks.${l}.mlp.fc2`, `${layer}.output.dense`)
    for (const part of ['weight', 'bias']) {
      const blocks = ['query', 'key', 'value'].map((name) => theirs(`${layer}.attention.attention.${name}.${part}`))
      const data = Float32Array.from(blocks.flatMap(({ data }) => [...(data as Float32Array)]))
      renamed.set(`blocks.${l}.attn.qkv.${part}`, { dtype: 'F32', shape: blocks[0]!.shape.with(0, 72), data })
    }
  }
  await saveSafetensors(join(folder, 'model.safetensors'), renamed)
  // timm's config names the number of heads by the size of the model; "small" has 6, "tiny" 3.
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ architecture: 'vit_tiny_patch8_24' }))
  await answersAsTheirs(folder)
})

test('a fresh head is for other classes, and the rest stays', async () => {
  const model = await importViT(GOLDEN, { classes: 7 })
  const found = model.forward(tensor(images.data as Float32Array, { shape: images.shape }))
  if (`${found.shape}` !== '3,7') throw new Error(`${found.shape}`)
  const positions = weights.get('vit.embeddings.position_embeddings')!.data as Float32Array
  assertClose(await model.posEmbedding.data(), positions, 0, 'positions')
})

test('import makes a checkpoint that eval, predict and export read', async () => {
  const [model, logitsPath, input] = ['vit', 'out', 'in'].map((name) => join(folder, `${name}.safetensors`)) as [
    string,
    string,
    string,
  ]
  const { code, stdout, stderr } = await runHere(['import', GOLDEN, '--output', model])
  if (code !== 0 || !/a ViT of 2 layers, width 24, \d+ parameters, for images of 24 pixels and 5 classes/.test(stdout))
    throw new Error(stdout + stderr)
  const { metadata } = await loadSafetensors(model)
  const data = JSON.parse(metadata.data!)
  if (`${data.mean};${data.std};${data.classNames}` !== '0.4,0.5,0.6;0.2,0.25,0.3;LABEL_0,LABEL_1,LABEL_2,LABEL_3,LABEL_4')
    throw new Error(metadata.data)
  await saveSafetensors(input, { images })
  await runHere(['predict', '--checkpoint', model, '--input', input, '--output', logitsPath])
  const predicted = (await loadSafetensors(logitsPath)).tensors.get('logits')!.data as Float32Array
  assertClose(predicted, logits, 1e-5, 'logits of predict')
})

test('what cannot be imported is named in one line', async () => {
  const output = join(folder, 'no.safetensors')
  const refused = async (change: (at: string) => Promise<void> | void, message: RegExp) => {
    const at = mkdtempSync(join(folder, 'bad-'))
    cpSync(GOLDEN, at, { recursive: true })
    await change(at)
    await expectUserError(['import', at, '--output', output], message)
  }
  const config = (fields: object) => (at: string) => {
    const path = join(at, 'config.json')
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...fields }))
  }
  const changed = (change: (entries: Map<string, SafetensorsEntry>) => void) => async (at: string) => {
    const entries = new Map(weights)
    change(entries)
    await saveSafetensors(join(at, 'model.safetensors'), entries)
  }
  await refused(config({ hidden_act: 'gelu_new' }), /hidden_act is gelu_new; takes gelu/)
  await refused(config({ num_attention_heads: 5 }), /number of heads of width 24/)
  await refused(config({ num_attention_heads: 'many' }), /config\.json is malformed: num_attention_heads/)
  await refused((at) => rmSync(join(at, 'config.json')), /put the config\.json of the model beside the file/)
  await refused((at) => rmSync(join(at, 'model.safetensors')), /no such file/)
  await refused(
    changed((entries) => entries.delete('vit.layernorm.bias')),
    /vit\.layernorm\.bias|layernorm\.bias/,
  )
  await refused(
    changed((entries) => entries.set('vit.extra.weight', entries.get('classifier.bias')!)),
    /1 tensors that a ViT has not, such as vit\.extra/,
  )
  await refused(
    changed((entries) => entries.delete('vit.embeddings.patch_embeddings.projection.weight')),
    /holds no Vision Transformer/,
  )
  await refused(
    changed((entries) => entries.set('vit.encoder.layer.1.output.dense.bias', entries.get('classifier.bias')!)),
    /branches\.0\.layers\.1\.mlp\.fc2\.bias are \[5\]/,
  )
  rmSync(folder, { recursive: true })
})

run()
