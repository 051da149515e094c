// A page that computes on the visitor's GPU, in a project with `npm install paraformer vite`: npx vite
// It imports `paraformer/ops`, so its bundle (npx vite build) holds the kernels of these ops alone.
import { matmul, requestDevice, softmax, tensor } from 'paraformer/ops'

const answer = document.getElementById('answer')!
try {
  const device = await requestDevice()
  const queries = tensor([1, 0, 0, 1, 1, 1], { shape: [3, 2] })
  const keys = tensor([0, 1, 2, 3, 4, 5], { shape: [2, 3] })
  const weights = softmax(matmul(queries, keys), 1) // [3, 3], each row adds up to 1
  answer.textContent = [...(await weights.data())].map((value) => value.toFixed(4)).join(' ')
  device.destroy()
} catch (error) {
  // A browser without WebGPU, for example: the message says what to do.
  answer.textContent = String(error)
}
