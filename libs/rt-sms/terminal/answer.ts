/** The result of a command, for people and for programs. */
export interface Answer {
  /** The exit code of the process. */
  readonly code: number;
  /** For people. */
  readonly text: string;
  /** For programs: with `--json`. */
  readonly json: object;
  /** The command did not do what it was asked for: people read the text on stderr. */
  readonly failed?: true;
}

/** The command line, a file or the configuration is wrong; nothing was sent. */
export class UsageError extends Error {
  /** For `--json`: the rows that are wrong, and why. */
  rows?: readonly object[];
}

/** `ENOENT: no such file or directory`: Node's message without the call and the path, which the caller names itself. */
export function fileProblem(error: unknown): string {
  const { message, syscall } = error as NodeJS.ErrnoException;
  return syscall === undefined ? message : message.split(`, ${syscall}`)[0]!;
}

/** `help` is for people. */
export function usageAnswer({ message, rows }: UsageError, help?: string): Answer {
  const text = help === undefined ? message : `${message}\n${help}`;
  return { code: 2, text, json: { error: { code: 'USAGE', message, rows } }, failed: true };
}
