import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';

/** A terminal: what is typed, and where questions are printed. */
export interface Terminal {
  readonly input: NodeJS.ReadStream;
  readonly output: NodeJS.WritableStream;
}

/** Asks a question and resolves with the line that was typed, `undefined` at the end of the input or on Ctrl-C. */
export function ask({ input, output }: Terminal, question: string, isHidden = false): Promise<string | undefined> {
  // readline echoes into its output, so a hidden answer gets one that drops everything.
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  output.write(question);
  const lines = createInterface({ input, output: isHidden ? silent : output, terminal: true });
  return new Promise((resolve) => {
    let line: string | undefined;
    lines.once('line', (text) => {
      line = text;
      lines.close();
    });
    lines.once('SIGINT', () => lines.close());
    lines.once('close', () => {
      if (isHidden || line === undefined) output.write('\n');
      resolve(line);
    });
  });
}
