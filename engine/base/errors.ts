/** A kernel does not compile. The message has the kernel, the variant, and the line and column of the specialized WGSL. */
export class KernelCompileError extends Error {
  override readonly name = 'KernelCompileError'
}

/** An argument is of a kind that a function does not take, or an option does not exist. The message names both. */
export class ArgumentError extends Error {
  override readonly name: string = 'ArgumentError'
}

/** An op cannot take a shape, dtype, dim or size. The message names the op and what it got. */
export class ShapeError extends ArgumentError {
  override readonly name = 'ShapeError'
}

/** A tensor that backward needs was changed in place after the forward pass used it. The message names the op, the tensor and the change. */
export class StaleValueError extends Error {
  override readonly name = 'StaleValueError'
}

/** WebGPU rejected a command. The message has the ops that were submitted with it. */
export class ValidationError extends Error {
  override readonly name = 'ValidationError'
}

/** The device or the driver has no room. The message has the bytes or the bind groups asked for. */
export class OutOfMemoryError extends Error {
  override readonly name = 'OutOfMemoryError'
}

/**
 * The device is lost: by a driver reset, by `destroy()`, or because the worker process that runs it ended. Every pending and later call throws this
 * error. Tensors and modules on it are lost too: request a new device, make a new model and optimizer, and load their checkpoint.
 */
export class DeviceLostError extends Error {
  override readonly name = 'DeviceLostError'
}

/** The user's input (a file, a flag, a value) is wrong. The message is one line that says what is wrong and what to do. */
export class UserError extends Error {
  override readonly name = 'UserError'
}

/** A file cannot be written. The cause, such as a full disk or a missing folder, may pass, so a caller with data to lose tries again. */
export class FileError extends UserError {}

function textOf(error: unknown): string {
  if (error instanceof Error) return error.message
  try {
    return String(error)
  } catch {
    return 'what has no text was thrown'
  }
}

/** Returns the message of anything thrown as one line, without control characters, which a terminal would obey. */
export function reason(error: unknown): string {
  return textOf(error).replace(/\s*[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+\s*/gu, ' ')
}
