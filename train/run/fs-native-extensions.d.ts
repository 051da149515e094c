// The package has no types of its own.
declare module 'fs-native-extensions' {
  /** Takes an exclusive lock of the whole open file, which ends with its last descriptor. @returns false when another process has it */
  export function tryLock(fd: number): boolean
}
