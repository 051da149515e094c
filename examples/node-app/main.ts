// Fits a line to five points, on a GPU or on a software device, in a project with `npm install paraformer esbuild`:
//   npx esbuild main.ts --bundle --format=esm --platform=node --packages=external --outfile=main.mjs && node main.mjs
import { AdamW, Linear, requestDevice, scope, tensor } from 'paraformer'

const device = await requestDevice()
const x = tensor([-2, -1, 0, 1, 2], { shape: [5, 1] })
const y = tensor([-3, -1, 1, 3, 5], { shape: [5, 1] }) // 2 x + 1
const model = new Linear(1, 1)
const optimizer = new AdamW(model.namedParameters(), { weightDecay: 0 })
for (let step = 0; step < 300; step++) {
  // The scope frees the values in between.
  scope(() => {
    const loss = model.forward(x).sub(y).pow(2).mean()
    loss.backward()
    optimizer.step(0.05)
    optimizer.zeroGrad()
  })
}
console.log(`y = ${(await model.weight.item()).toFixed(2)} x + ${(await model.bias!.item()).toFixed(2)}`)
device.destroy()
