export { loadDataset } from '../data/datasets.ts'
export { openData } from '../run/data.ts'
export { expand } from '../study/expand/expand.ts'
