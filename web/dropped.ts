import type { GivenFile } from './protocol.ts'

/** Returns the files that were dropped, those of folders too, with their paths. */
export async function droppedFiles({ items }: DataTransfer): Promise<GivenFile[]> {
  // The list of what was dropped is gone after the first wait.
  const entries = [...items].flatMap((item) => item.webkitGetAsEntry() ?? [])
  return (await Promise.all(entries.map(filesBelow))).flat()
}

/** Returns the files of a file button, with their paths below the chosen folder. */
export function chosenFiles(input: HTMLInputElement): GivenFile[] {
  return [...(input.files ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file }))
}

async function filesBelow(entry: FileSystemEntry): Promise<GivenFile[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject))
    return [{ path: entry.fullPath.slice(1), file }]
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  const found: GivenFile[] = []
  // A reader gives a folder in parts, the last of which is empty.
  for (;;) {
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))
    if (part.length === 0) return found
    for (const files of await Promise.all(part.map(filesBelow))) found.push(...files)
  }
}
