import { ask, type Terminal } from './ask.js';
import { parseVerifyArgs, UsageError, type VerifyArgs } from './command-line.js';
import { rowsFor } from './rows.js';
import { maskNumber } from './secrets.js';
import { NotVerifiableError, type RowResult, verify } from './verify.js';

/**
 * Runs `nestjs-rt-sms-testing verify` (see its `--help`). The report goes to stdout, questions and errors to stderr.
 *
 * @returns the exit code: 0 no difference, 1 the gateway differs, 2 it could not be verified
 */
export async function runVerify(
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
  terminal: Terminal = { input: process.stdin, output: process.stderr },
): Promise<number> {
  const json = args.includes('--json');
  try {
    const parsed = parseVerifyArgs(args, env);
    if ('help' in parsed) {
      process.stdout.write(parsed.help);
      return 0;
    }
    const password = await passwordFrom(env, terminal);
    await confirmSending(parsed.args, terminal);
    return await report(parsed.args, password);
  } catch (error) {
    if (!(error instanceof UsageError) && !(error instanceof NotVerifiableError)) throw error;
    const help = error instanceof UsageError ? '\nHelp: nestjs-rt-sms-testing verify --help' : '';
    if (json) print({ error: { message: error.message } });
    else process.stderr.write(`${error.message}${help}\n`);
    return 2;
  }
}

async function report(args: VerifyArgs, password: string): Promise<number> {
  const rows: RowResult[] = [];
  const url = args.url.href;
  for await (const result of verify({ ...args, password })) {
    if (rows.push(result) === 1 && !args.json) process.stdout.write(`${url}\n\n`);
    if (!args.json) process.stdout.write(`${textOf(result)}\n`);
  }
  const differ = rows.filter(({ differences }) => differences.length > 0).length;
  const skipped = rows.filter((row) => row.skipped).length;
  if (args.json) print({ url, differ, skipped, rows });
  else {
    const more = skipped > 0 ? `; ${skipped} skipped` : '';
    const difference = differ === 0 ? 'none differs' : differ === 1 ? '1 differs' : `${differ} differ`;
    process.stdout.write(`\n${rows.length} rows: ${difference} from the document${more}.\n`);
  }
  return differ > 0 ? 1 : 0;
}

function textOf({ row, sections, sent, document, came, differences, skipped }: RowResult): string {
  if (skipped) return `skipped  ${row}: ${came}`;
  if (differences.length === 0) return `ok       ${row}`;
  return [
    `DIFFERS  ${row} (${sections})`,
    `           sent      ${sent}`,
    `           document  ${document}`,
    `           came      ${came}`,
    ...differences.map((difference) => `           - ${difference}`),
  ].join('\n');
}

async function passwordFrom(env: NodeJS.ProcessEnv, terminal: Terminal): Promise<string> {
  const password =
    env['RT_SMS_PASSWORD'] || (terminal.input.isTTY ? await ask(terminal, 'Password: ', true) : undefined);
  if (!password) throw new UsageError('The password is missing. Fix: set RT_SMS_PASSWORD.');
  return password;
}

async function confirmSending({ number, shortcode, url, yes }: VerifyArgs, terminal: Terminal): Promise<void> {
  if (number === undefined || yes) return;
  const rows = rowsFor(number);
  const paid = rows.filter(({ sends }) => sends === 'paid').length;
  const most = rows.filter(({ sends }) => sends !== 'never').length;
  const what =
    `--send sends ${paid} messages to ${maskNumber(number)} from ${shortcode} through ${url.host}, ` +
    `and up to ${most} if the gateway accepts what the document rejects.`;
  if (!terminal.input.isTTY) throw new UsageError(`${what} Fix: add --yes.`);
  terminal.output.write(`${what}\n`);
  const answer = await ask(terminal, 'Continue? [y/N] ');
  if (!/^y(?:es)?$/i.test(answer?.trim() ?? '')) throw new UsageError('Nothing was sent.');
}

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
