/** The newest format of the JSON files of runs and studies, and of messages about them, that this version writes and reads. */
export const FORMAT = 1
