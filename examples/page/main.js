// A page that fits an MLP to a curve on the visitor's GPU and draws how it learns. In a copy of this folder:
//   npm install paraformer && npx esbuild main.js --bundle --format=esm --outfile=bundle.js && npx esbuild --servedir=.
// @ts-check
import { AdamW, capture, Linear, requestDevice, tensor } from 'paraformer'

const [canvas, status] = [document.querySelector('canvas'), document.querySelector('p')]
const context = canvas?.getContext('2d')
if (!canvas || !context || !status) throw new Error('the page has a canvas and a paragraph')

/** Draws a curve of 128 heights from -1 to 1. @type {(heights: ArrayLike<number>, color: string) => void} */
function draw(heights, color) {
  if (!context) return
  context.strokeStyle = color
  context.beginPath()
  for (let i = 0; i < 128; i++) context.lineTo(5 * i, 160 - 120 * (heights[i] ?? 0))
  context.stroke()
}

const device = await requestDevice().catch((error) => {
  status.textContent = error.message
  throw error
})
const xs = Float32Array.from({ length: 128 }, (_, i) => i / 64 - 1)
const curve = xs.map((x) => Math.sin(6 * x) * (1 - x * x))
const [inputs, targets] = [tensor(xs, { shape: [128, 1] }), tensor(curve, { shape: [128, 1] })]
const [first, second, third] = [new Linear(1, 64), new Linear(64, 64), new Linear(64, 1)]
const optimizer = new AdamW([first, second, third].flatMap((layer) => layer.parameters()))
const train = capture(() => {
  const fitted = third.forward(second.forward(first.forward(inputs).gelu()).gelu()) // [128, 1]
  const loss = fitted.sub(targets).pow(2).mean()
  loss.backward()
  optimizer.step(3e-3)
  optimizer.zeroGrad()
  return { fitted, loss }
})

for (let step = 1; step <= 500; step++) {
  const { fitted, loss } = train()
  if (step % 10 > 0) continue
  const [heights, error] = await Promise.all([fitted.data(), loss.item()])
  context.clearRect(0, 0, canvas.width, canvas.height)
  draw(curve, 'silver')
  draw(heights, 'crimson')
  status.textContent = `step ${step} on ${device.summary.name}: mean square error ${error.toFixed(5)}`
}
device.destroy()
