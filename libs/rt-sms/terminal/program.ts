import { constants } from 'node:os';
import { fileProblem, usageAnswer, UsageError, type Answer } from './answer.js';
import { parseArgs, type ParsedArgs } from './command-line.js';

/**
 * Runs the program (see `--help`). The answer goes to stdout, progress and errors to stderr.
 * @returns the exit code
 */
export async function runTerminal(args: readonly string[] = process.argv.slice(2)): Promise<number> {
  const stop = new AbortController();
  const flags = args.includes('--') ? args.slice(0, args.indexOf('--')) : args;
  const json = flags.includes('--json');
  const { parsed, answer = await answerTo(parsed!, stop) } = parseArgs(args);
  const out = answer.failed && !json ? process.stderr : process.stdout;
  out.write(`${json ? JSON.stringify(answer.json) : answer.text}\n`);
  const { aborted, reason } = stop.signal;
  return aborted && answer.code === 1 ? 128 + constants.signals[reason as NodeJS.Signals] : answer.code;
}

async function answerTo(parsed: ParsedArgs, stop: AbortController): Promise<Answer> {
  try {
    if (parsed.flags.env !== undefined) loadVariables(parsed.flags.env);
    // The other commands do not send messages, so a signal may end them at once.
    if (parsed.command === 'send' || parsed.command === 'bulk')
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort(signal));
    // Imported here, because help and usage errors do not need the framework.
    const { run } = await import('./commands.js');
    return await run(parsed, stop.signal);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return usageAnswer(error);
  }
}

function loadVariables(path: string): void {
  try {
    process.loadEnvFile(path);
  } catch (error) {
    throw new UsageError(`--env ${path}: ${fileProblem(error)}`, { cause: error });
  }
}
