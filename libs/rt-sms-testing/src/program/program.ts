import { realpathSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { MAGIC_NUMBERS } from '../magic-numbers.js';
import { RtSmsSimulator } from '../simulator.js';
import type { ParsedArgs } from './command-line.js';
import { playScript, readScript, type ScriptStep } from './script.js';

/**
 * Runs the simulator as a program: reads flags and environment (`--help` lists them), starts, prints the address, plays
 * the script, and ends on SIGINT or SIGTERM. Errors are printed to stderr.
 *
 * @returns the exit code: 0, 1 if it could not start, 2 for invalid flags or an invalid script
 */
export async function runSimulator(
  args: readonly string[] = process.argv.slice(2),
  env: NodeJS.ProcessEnv = process.env,
): Promise<number> {
  // Imported here, because the library does not need the parser.
  const { parseArgs } = await import('./command-line.js');
  let parsed: ParsedArgs;
  let steps: ScriptStep[] = [];
  try {
    const result = parseArgs(args, env);
    if ('help' in result) return printed(result.help);
    parsed = result;
    if (parsed.script !== undefined) steps = await scriptIn(parsed.script);
  } catch (error) {
    return failed(`${messageOf(error)}\nHelp: nestjs-rt-sms-testing --help`, 2);
  }
  if (parsed.version) return printed(`${version()}\n`);
  if (parsed.numbers) return printed(numbers());
  const ended = signalled();
  try {
    const gateway = await RtSmsSimulator.start(parsed.options);
    ended.addEventListener('abort', () => void gateway.close(), { once: true });
    if (parsed.json) logTo(gateway);
    else process.stdout.write(introduction(gateway));
    try {
      await playScript(gateway, steps, ended);
      if (!ended.aborted) await new Promise((resolve) => ended.addEventListener('abort', resolve, { once: true }));
    } finally {
      await gateway.close();
    }
    return 0;
  } catch (error) {
    return failed(messageOf(error), 1);
  }
}

async function scriptIn(path: string): Promise<ScriptStep[]> {
  try {
    return readScript(await readFile(path, 'utf8'));
  } catch (error) {
    // Node's message ends with the system call and the path, which this message shows already.
    const { message, syscall } = error as NodeJS.ErrnoException;
    const problem = syscall === undefined ? message : message.split(`, ${syscall}`)[0];
    throw new TypeError(`--script ${path}: ${problem}`, { cause: error });
  }
}

/** Resolved from the program's path, because this file is also compiled to CommonJS, which does not have import.meta. */
function version(): string {
  const require = createRequire(realpathSync(process.argv[1]!));
  return (require('nestjs-rt-sms-testing/package.json') as { version: string }).version;
}

function signalled(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort());
  return controller.signal;
}

function introduction(gateway: RtSmsSimulator): string {
  const { url, login, password } = gateway.options;
  return [
    'SMS gateway simulator',
    ...(gateway.inboxUrl === undefined ? [] : [`  inbox     ${gateway.inboxUrl}`]),
    `  url       ${url}`,
    `  login     ${login}`,
    `  password  ${password}`,
    `  callbacks ${gateway.callbackUrl ?? 'none: --callback-url, or Conditions in the inbox'}`,
    `  seed      ${gateway.seed}`,
    '',
    'Messages to any number are delivered; --numbers lists the numbers that produce other outcomes.',
    '',
  ].join('\n');
}

function numbers(): string {
  return `${MAGIC_NUMBERS.map(({ msisdn, does }) => `${msisdn}  ${does}`).join('\n')}\n`;
}

/** Prints one JSON object per line: the name of the event in `event`, and the data of the library's event. */
function logTo(gateway: RtSmsSimulator): void {
  const log = (event: string, entry: object): void => {
    process.stdout.write(`${JSON.stringify({ time: new Date(), event, ...entry })}\n`);
  };
  const { url, login } = gateway.options;
  log('started', { url, inbox: gateway.inboxUrl, login, callbackUrl: gateway.callbackUrl, seed: gateway.seed });
  gateway.on('message', (message) => log('message', message));
  gateway.on('status', (message) => log('status', message));
  gateway.on('callback', (callback) => log('callback', callback));
  gateway.on('exchange', (exchange) => log('exchange', exchange));
}

function printed(text: string): number {
  process.stdout.write(text);
  return 0;
}

function failed(text: string, code: number): number {
  process.stderr.write(`${text}\n`);
  return code;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
