import type { loadDataset } from '../data/datasets.ts'
import type { openData } from '../run/data.ts'
import type { expand } from '../study/expand/expand.ts'

/** Functions of the package that read files or start threads, which only some hosts can. */
export interface Host {
  loadDataset: typeof loadDataset
  openData: typeof openData
  expand: typeof expand
}
