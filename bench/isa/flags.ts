/** The flags of `paraformer bench isa`, as commander parses them. */
export interface IsaFlags {
  family: string
  filter?: string
  variant?: string
  chosen?: boolean
  peers?: boolean
  asm?: string
  json?: boolean
}
