export { MessageFile, type MessageFileOptions, type MessageRow, type MessageRowProblem } from './message-file.js';
export type { MessageFileSource } from './csv-format.js';
export { MessageFileError, type MessageFileProblem } from './message-file-error.js';
