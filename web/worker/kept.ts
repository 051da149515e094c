// The page keeps these files in the origin private file system.

/** The folder of the last run. */
export const FOLDER = 'opfs:run'
export const CHECKPOINT = `${FOLDER}/checkpoint.safetensors`
/** The checkpoint where the browser stores nothing: it lives as long as the page. */
export const IN_MEMORY = 'memory:checkpoint.safetensors'
export const METRICS = `${FOLDER}/metrics.json`
/** The parameters of the last finished run. */
export const MODEL = `${FOLDER}/model.safetensors`

/** The folder of the user's own data. */
export const DATA = 'opfs:data'
/** The list of the files of the user's own data. */
export const INDEX = `${DATA}/index.json`
