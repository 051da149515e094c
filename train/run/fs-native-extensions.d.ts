// The package brings no types.
declare module 'fs-native-extensions' {
  /** Takes an exclusive lock of the whole open file, which goes with its last descriptor. False where another one has it. */
  export function tryLock(fd: number): boolean
}
