/** The result of a command, as text and as JSON. */
export interface Answer {
  /** The exit code of the process. */
  readonly code: number;
  /** Output without `--json`. */
  readonly text: string;
  /** Output with `--json`. */
  readonly json: object;
  /** Set if the command failed: `text` goes to stderr. */
  readonly failed?: true;
}

/** The command line, a file or the configuration is invalid; nothing was sent. */
export class UsageError extends Error {
  /** The invalid rows and their problems, for `--json`. */
  rows?: readonly object[];
}

/** Node's message without the system call and the path, which the caller adds: `ENOENT: no such file or directory`. */
export function fileProblem(error: unknown): string {
  const { message, syscall } = error as NodeJS.ErrnoException;
  return syscall === undefined ? message : message.split(`, ${syscall}`)[0]!;
}

/** @param help hint that is added to the text, but not to the JSON */
export function usageAnswer({ message, rows }: UsageError, help?: string): Answer {
  const text = help === undefined ? message : `${message}\n${help}`;
  return { code: 2, text, json: { error: { code: 'USAGE', message, rows } }, failed: true };
}
