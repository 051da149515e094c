/** A kernel that does not compile; the message has kernel, variant, line and column of the specialized WGSL. */
export class KernelCompileError extends Error {
  override readonly name = 'KernelCompileError'
}

/** An argument of a kind that a function does not take, or an option that it does not have. The message names both. */
export class ArgumentError extends Error {
  override readonly name: string = 'ArgumentError'
}

/** Tensors or sizes that an op cannot take: shapes, dtypes, dims. The message names the op and what it got. */
export class ShapeError extends ArgumentError {
  override readonly name = 'ShapeError'
}

/** A tensor that backward needs was changed in place after the forward pass used it. The message names the op, the tensor and the change. */
export class StaleValueError extends Error {
  override readonly name = 'StaleValueError'
}

/** WebGPU rejected a command; the message has the ops that were recorded with it. */
export class ValidationError extends Error {
  override readonly name = 'ValidationError'
}

/** The device could not give the memory; the message has the bytes asked for and those in use. */
export class OutOfMemoryError extends Error {
  override readonly name = 'OutOfMemoryError'
}

/**
 * The device is gone (a driver reset, `destroy()`, a process of branches that ended); every pending and later call ends with this. Tensors
 * and modules on it are gone too: request a new device, make the model and its optimizer anew, and load what was saved of them.
 */
export class DeviceLostError extends Error {
  override readonly name = 'DeviceLostError'
}

/** Bad input from the user (a file, a flag, a value). The message is one line that says what is wrong and what to do. */
export class UserError extends Error {
  override readonly name = 'UserError'
}

/** A file that cannot be written. Space, permissions and folders may come back: whoever has something to lose tries again. */
export class FileError extends UserError {}

function textOf(error: unknown): string {
  if (error instanceof Error) return error.message
  try {
    return String(error)
  } catch {
    return 'what has no text was thrown'
  }
}

/** The message of anything thrown, on one line, without what a terminal obeys instead of showing it. */
export function reason(error: unknown): string {
  return textOf(error).replace(/\s*[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+\s*/gu, ' ')
}
