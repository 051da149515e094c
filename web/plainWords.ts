// Messages of the library speak to users of the command line. The page has fields and buttons in place of flags.

/** Names of flags on the page. */
const FIELDS: Readonly<Record<string, string>> = {
  architecture: 'Model',
  scheme: 'Training scheme',
  branches: 'Branches',
  'branch-depth': 'Layers of a branch',
  depth: 'Layers',
  dim: 'Width',
  'patch-size': 'Pixels of a patch',
  'image-size': 'Pixels of a side',
  epochs: 'Epochs',
  'batch-size': 'Images of a mini-batch',
  lr: 'Learning rate',
  seed: 'Seed',
  dataset: 'data',
  'data-dir': 'data',
  'init-from': 'checkpoint',
}

/** Advice that only the command line can follow, with what the page says instead. */
const ADVICE: readonly (readonly [RegExp, string])[] = [
  [/; or leave out such files with --skip-broken/, ''],
  [
    /; say theirs with --record-shape channels,height,width/,
    '; this page takes records of 3x32x32 pixels alone, paraformer train others too',
  ],
  [
    /^--filter (.*) leaves nothing to time; see paraformer bench --list$/s,
    'No name or shape has "$1"; leave the field empty to time all',
  ],
  [
    /^--filter (.*) is no regular expression; a plain word such as 1024 will do$/s,
    '"$1" is no regular expression; a plain word such as 1024 will do',
  ],
  [/, raise --accumulate,/, ''],
  [/ \(it was ([\d.e-]+)\) or --max-norm(, or --precision f32)?/, ' (it was $1)'],
]

/** Says a message in the words of the page. Whole commands, such as `paraformer train --resume`, stay. */
export function plainWords(message: string): string {
  let text = message
  for (const [pattern, words] of ADVICE) text = text.replace(pattern, words)
  return text.replace(/(?<!paraformer [\w ]*)(?<![\w-])--([a-z][a-z-]*)/g, (_, flag: string) =>
    FIELDS[flag] ? `"${FIELDS[flag]}"` : flag.replaceAll('-', ' '),
  )
}
