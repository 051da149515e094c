import { existsSync } from 'node:fs'

const PROGRAMS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/opt/google/chrome/chrome']

/** Finds Chromium, or the program that CHROMIUM names. Without one the process ends with code 2. @param command the command, for the message */
export function findChromium(command) {
  const program = process.env.CHROMIUM ?? PROGRAMS.find((path) => existsSync(path))
  if (program && existsSync(program)) return program
  const where = program ? `there is no ${program}` : 'there is no Chromium'
  console.error(`${command}: ${where}; install it (Debian: apt-get install chromium) or name its program in CHROMIUM`)
  process.exit(2)
}
