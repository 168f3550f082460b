import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { HELP, readFlags, UsageError } from './flags.js';

/** What a command has to say: to people, and to programs. */
export interface Answer {
  readonly code: number;
  readonly says: string;
  readonly json: object;
  /** It came to nothing: people read of it on stderr. */
  readonly failed?: true;
}

/**
 * The program; `--help` tells how it is used, `--version` which one it is. Its answer is on stdout, progress and what is wrong on stderr.
 * @returns the exit code
 */
export async function runTerminal(args: readonly string[] = process.argv.slice(2)): Promise<number> {
  const json = args.includes('--json');
  const stop = new AbortController();
  const answer = aboutItself(args) ?? (await answerTo(args, stop));
  const out = answer.failed && !json ? process.stderr : process.stdout;
  out.write(`${json ? JSON.stringify(answer.json) : answer.says}\n`);
  const { aborted, reason } = stop.signal;
  return aborted && answer.code === 1 ? 128 + constants.signals[reason as NodeJS.Signals] : answer.code;
}

/** What is asked without a command, or whatever the command is. */
function aboutItself(args: readonly string[]): Answer | undefined {
  if (args.includes('--help')) return { code: 0, says: HELP, json: { help: HELP } };
  if (!args.includes('--version')) return undefined;
  const { version } = createRequire(import.meta.url)('nestjs-rt-sms/package.json') as { version: string };
  return { code: 0, says: version, json: { version } };
}

async function answerTo(args: readonly string[], stop: AbortController): Promise<Answer> {
  try {
    const wishes = readFlags(args);
    const variables = wishes.flag('env');
    if (variables !== undefined) loadVariables(variables);
    // What only asks may end at once.
    if (wishes.command !== 'doctor')
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort(signal));
    // Not before: help and wrong flags need no framework.
    const { run } = await import('./commands.js');
    return await run(wishes, stop.signal);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const { message, rows } = error;
    const json = { error: { code: 'USAGE', message, rows } };
    return { code: 2, says: `${message}\nMore by --help.`, json, failed: true };
  }
}

function loadVariables(path: string): void {
  try {
    process.loadEnvFile(path);
  } catch (error) {
    throw new UsageError(`--env: ${(error as Error).message}`, { cause: error });
  }
}
