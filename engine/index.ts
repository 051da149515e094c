// Every function of the engine, and the ops as methods of Tensor.
import './methods.ts'

export * from './functions.ts'
