/** The flags of `paraformer bench images`, as commander parses them. */
export interface ImagesFlags {
  from: number
  size: number
  operations: number
  batch: number
  quick?: boolean
  time: number
  adapter?: string
  json?: boolean
}
