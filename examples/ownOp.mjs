// An op of your own with its WGSL: the snake activation, y = x + sin^2(a x) / a (arXiv 2006.08195), forward and backward. It is compared
// with finite differences, and then an MLP of it learns a wave: node examples/ownOp.mjs
// @ts-check
import { AdamW, defineOp, empty, Linear, requestDevice, run, scope, tensor } from 'paraformer'

/** @import { KernelSpec, OpDefinition, Tensor } from 'paraformer' */

const forward = kernel('snake', ['x', 'y'], 'let s = sin(params.a * x[i]); y[i] = x[i] + s * s / params.a;')
const backward = kernel('snakeBackward', ['x', 'dy', 'dx'], 'dx[i] = dy[i] * (1 + sin(2 * params.a * x[i]));')

// Makes a kernel of tensors [n], of which it writes the last; the body computes its element i.
/** @type {(name: string, tensors: string[], body: string) => KernelSpec<{ n: number, a: number }>} */
function kernel(name, tensors, body) {
  const access = (/** @type {number} */ i) => (i < tensors.length - 1 ? 'read' : 'read_write')
  const source = `
${tensors.map((name, i) => `@group(0) @binding(${i}) var<storage, ${access(i)}> ${name}: array<f32>;`).join('\n')}
struct Params { n: u32, a: f32 }
@group(1) @binding(0) var<uniform> params: Params;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x;
  if (i < params.n) { ${body} }
}`
  return {
    name,
    bindings: tensors.map((name, i) => ({ name, access: access(i), dtype: 'f32' })),
    params: [
      { name: 'n', type: 'u32' },
      { name: 'a', type: 'f32' },
    ],
    variants: [{ name: 'plain', source, grid: ({ n }) => [Math.ceil(n / 64), 1, 1] }],
    flops: ({ n }) => 5 * n,
    bytes: ({ n }) => 4 * n * tensors.length,
  }
}

/** @type {OpDefinition<[Tensor], number>} */
const definition = {
  name: 'snake',
  forward(ctx, [x], a) {
    ctx.saveForBackward(x)
    const y = empty(x.shape, 'float32', x.device)
    run(forward, { n: x.size, a }, [x.contiguous(), y])
    return y
  },
  backward(ctx, dy, a) {
    const [x = dy] = ctx.saved
    const dx = ctx.gradOut(0)
    run(backward, { n: x.size, a }, [x.contiguous(), dy.contiguous(), dx])
    return [dx]
  },
}
const snake = defineOp(definition)
const device = await requestDevice()
device.random.seed = 1
const x = tensor([-2, -0.5, 0, 0.3, 1.7], { requiresGrad: true })
snake([x], 2).sum().backward()
const difference = snake([x.add(0.01)], 2).sub(snake([x.sub(0.01)], 2))
console.log('largest distance from finite differences:', await x.grad?.sub(difference.div(0.02)).pow(2).sqrt().max().item())
const times = Float32Array.from({ length: 64 }, (_, i) => i / 10 - 3.2)
const sines = times.map((t) => Math.sin(3 * t))
const [inputs, wave] = [tensor(times, { shape: [64, 1] }), tensor(sines, { shape: [64, 1] })]
const [first, second] = [new Linear(1, 32), new Linear(32, 1)]
const optimizer = new AdamW([...first.parameters(), ...second.parameters()])
for (let step = 1; step <= 200; step++) {
  const loss = scope(() => {
    const loss = second
      .forward(snake([first.forward(inputs)], 2))
      .sub(wave)
      .pow(2)
      .mean()
    loss.backward()
    optimizer.step(1e-2)
    optimizer.zeroGrad()
    return loss
  })
  if (step % 50 === 0) console.log(`step ${step}: mean square error ${(await loss.item()).toFixed(5)}`)
}
device.destroy()
