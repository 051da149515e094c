/** An operation of a step of a chain (see `kernels/elementwise/chain.ts`). One of a single operand ignores the second one. */
export type StepOp = 'add' | 'sub' | 'mul' | 'div' | 'neg' | 'sqrt' | 'relu'

/** An operation of a chain. Tensors are named by their slot, which is the place among the kernel's bindings. */
export interface ChainStep {
  op: StepOp
  a: number | 'number'
  b: number | 'number'
  out: number
  number: number
}

/** A launch of a kernel as a step of a chain: its operands and its result are places among the launch's bindings. */
export interface LaunchStep extends ChainStep {
  count: number
}
