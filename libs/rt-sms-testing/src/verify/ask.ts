import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';

/** A terminal: what is typed, and where questions are printed. */
export interface Terminal {
  readonly input: NodeJS.ReadStream;
  readonly output: NodeJS.WritableStream;
}

/** Asks a question and resolves with the line that was typed, `undefined` at the end of the input or on Ctrl-C. */
export function ask({ input, output }: Terminal, question: string, isHidden = false): Promise<string | undefined> {
  // readline echoes into its output, so a hidden answer gets one that drops everything. It also turns off the echo of the
  // terminal, so the question is printed after that: what is typed at once must not be seen either.
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input, output: isHidden ? silent : output, terminal: true });
  if (isHidden) output.write(question);
  return new Promise((resolve) => {
    let line: string | undefined;
    lines.once('close', () => {
      if (isHidden || line === undefined) output.write('\n');
      resolve(line);
    });
    lines.once('SIGINT', () => lines.close());
    lines.question(isHidden ? '' : question, (text) => {
      line = text;
      lines.close();
    });
  });
}
