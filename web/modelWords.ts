import type { ModelInfo } from './protocol.ts'
import { counted } from './words.ts'

/** The words around the picture of a model. */
export interface ModelWords {
  /** A name for each card. */
  cards: string[]
  branches: string
  looks: string
  sum: string
}

/** Says what a picture shows, by the kind of its model. */
export function wordsOf({ architecture, branches }: ModelInfo): ModelWords {
  const cards = (name: string) => Array.from({ length: branches }, (_, i) => `${name} ${i + 1}`)
  if (architecture === 'vit')
    return {
      cards: ['the whole model'],
      branches: '2. Layers look at them, one on top of the other',
      looks: 'Colour shows where the last layer looks. A Vision Transformer has no branches to switch or move.',
      sum: '3. The answer',
    }
  if (architecture === 'ensemble')
    return {
      cards: cards('member'),
      branches: '2. Members look at them side by side',
      looks: 'Colour shows where a member looks. Each is a Vision Transformer of its own.',
      sum: '3. The mean of what they say is the answer',
    }
  return {
    cards: cards('branch'),
    branches: '2. Branches look at them side by side',
    looks: 'Colour shows where a branch looks.',
    sum: '3. Their sum is the answer',
  }
}

/** Names the model that answers. */
export function modelSentence({ from, architecture, branches, layers }: ModelInfo): string {
  if (architecture === 'vit') return `Answers: ${from}, a Vision Transformer of ${counted(layers ?? 0, 'layer')}.`
  if (architecture === 'ensemble') return `Answers: ${from}, an ensemble of ${counted(branches, 'member')}.`
  return `Answers: ${from}, ${counted(branches, 'branch', 'branches')}.`
}
