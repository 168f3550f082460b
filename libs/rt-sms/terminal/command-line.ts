import { createRequire } from 'node:module';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { usageAnswer, UsageError, type Answer } from './answer.js';

export type CommandName = 'send' | 'status' | 'bulk' | 'doctor' | 'secret';

/** The flags of all commands; each command accepts some of them. */
export interface Flags {
  readonly account?: string;
  readonly env?: string;
  readonly json?: boolean;
  readonly shortcode?: string;
  readonly wait?: boolean;
  /** Time-out of `--wait` in seconds. */
  readonly timeout?: number;
  readonly results?: string;
  readonly encoding?: string;
  readonly dryRun?: boolean;
  readonly skipInvalid?: boolean;
  readonly skipDoubled?: boolean;
  readonly resendUnknown?: boolean;
  readonly maxSegments?: number;
  readonly callbackUrl?: string;
  readonly url?: string;
}

/** A command line that can be run. */
export interface ParsedArgs {
  readonly command: CommandName;
  readonly args: readonly string[];
  readonly flags: Flags;
}

/** The time for which the module tracks a message. */
const MAX_TIMEOUT_S = 72 * 3_600;

const EXIT_CODES = [
  '',
  'The environment sets the account, as in the module: RT_SMS_LOGIN, RT_SMS_PASSWORD, RT_SMS_SHORTCODE, RT_SMS_URL, …',
  '',
  'Exit codes:',
  '  0    done; with send --wait: delivered',
  '  1    rejected, not sent, not delivered, or a check failed',
  '  2    the flags, the file or the configuration are invalid; nothing was sent',
  '  3    a message may have been sent: the gateway did not confirm it',
  '  4    send --wait: sent, but the final status did not arrive in time',
  '  130  stopped by Ctrl-C (143: by SIGTERM) before the end',
  '',
  'Help on one command: nestjs-rt-sms COMMAND --help',
].join('\n');

const SEND_HELP = [
  '',
  'Other users of this machine can see the arguments of a process. To hide number and text from them, write - and use',
  'standard input:',
  '  echo "Text" | nestjs-rt-sms send +79270000001 -',
  '  printf \'%s\\n\' +79270000001 "Text" | nestjs-rt-sms send -     (the first line is the number)',
  '',
  'Put the text in quotes. One that begins with - goes after --: nestjs-rt-sms send +79270000001 -- "-5% today"',
  '',
  'Without --wait, exit code 0 means that the gateway accepted the message, not that it was delivered.',
].join('\n');

/** Returns the command to run, or an answer for `--help`, `--version` and an invalid command line. */
export function parseArgs(args: readonly string[]): { parsed?: ParsedArgs; answer?: Answer } {
  let parsed: ParsedArgs | undefined;
  let printed = '';
  const program = commandLine(
    (command) =>
      (parsed = { command: command.name() as CommandName, args: command.args, flags: command.optsWithGlobals() }),
    (text) => (printed += text),
  );
  try {
    program.parse(args, { from: 'user' });
    return { parsed: parsed! };
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    const text = printed.trimEnd();
    if (error.exitCode === 0) {
      const about = error.code === 'commander.version' ? 'version' : 'help';
      return { answer: { code: 0, text, json: { [about]: text } } };
    }
    const commands = program.commands.map((command) => command.name());
    const command = commands.filter((name) => name === program.args[0]);
    const help = text ? `\n${text}` : `Help: ${['nestjs-rt-sms', ...command, '--help'].join(' ')}`;
    return { answer: usageAnswer(new UsageError(problemOf(error, commands)), help) };
  }
}

function commandLine(run: (command: Command) => void, print: (text: string) => void): Command {
  const program = new Command('nestjs-rt-sms')
    .description("Sends SMS through Rostelecom's gateway.")
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: print, outputError: () => undefined })
    .configureHelp({ showGlobalOptions: true, helpWidth: 120 })
    .helpCommand(false)
    .helpOption('--help', 'print this help')
    .option('--version', 'print the version')
    .on('option:version', () => {
      const { version } = createRequire(import.meta.url)('nestjs-rt-sms/package.json') as { version: string };
      print(version);
      throw new CommanderError(0, 'commander.version', version);
    })
    .option('--account <NAME>', 'use a named account, whose variables are RT_SMS_<NAME>_…', value)
    // The name --env-file is taken: Node handles that flag itself, even after the name of a script, and exits if the file is missing.
    .option('--env <FILE>', 'read variables from a file, such as .env; those of the environment take precedence', value)
    .option('--json', 'print one JSON object')
    .addHelpText('after', EXIT_CODES);
  const command = (usage: string, description: string) =>
    program
      .command(usage)
      .description(description)
      .action((...input: unknown[]) => run(input.at(-1) as Command));
  const SHORTCODE = ['--shortcode <NAME>', 'sender name (default: RT_SMS_SHORTCODE)', value] as const;

  const send = command('send <NUMBER> [TEXT]', 'Send one message')
    .option(...SHORTCODE)
    .option('--wait', 'wait for the final status; the exit code shows whether it was delivered')
    .addOption(
      new Option('--timeout <SECONDS>', 'how long --wait waits')
        .argParser(seconds)
        .default(300)
        .implies({ wait: true }),
    )
    .addHelpText('after', SEND_HELP)
    .hook('preAction', () => {
      const [number, text] = send.args;
      if (text === undefined && number !== '-') send.error("error: missing required argument 'TEXT'");
    });
  command('status <UID>', 'Request the status of a message from the gateway');
  command('bulk <FILE.csv>', 'Send a file of numbers and texts; a second run continues where the first one ended')
    .option(...SHORTCODE)
    .option('--results <FILE>', 'file for the result of each row (default: FILE.results.csv next to FILE.csv)', value)
    .option('--encoding <NAME>', 'utf-8, windows-1251, … (default: detected)', value)
    .option('--dry-run', 'check the file and send nothing')
    .option('--skip-invalid', 'send the valid rows, even if others are invalid')
    .option('--skip-doubled', 'of rows with the same number and text, send only the first')
    .option('--max-segments <N>', 'ask before more segments are sent; without a terminal, send nothing', count)
    .option('--resend-unknown', 'also send rows that may have been sent before: some people may get them twice');
  command('doctor', 'Check configuration, network, credentials and callbacks; sends no message')
    .option(...SHORTCODE)
    .option('--callback-url <URL>', 'address at which the application receives callbacks, without the secret', value);
  command('secret', 'Generate a callback secret, and the address for the cabinet').option(
    '--url <URL>',
    'address at which the application receives callbacks; without a path, the default path',
    value,
  );
  return program;
}

/** Matches a flag or a command, but not a text or a phone number, which an error must not repeat. */
const NAME = /^(-{0,2}[a-z][a-z-]*)(=[^]*)?$/i;

function problemOf({ code, message }: CommanderError, commands: readonly string[]): string {
  if (code === 'commander.help') return 'A command is missing';
  const [, what, input = '', suggestion = ''] =
    /^error: (unknown (?:option|command)) '([^]*?)'(\n\(.*\))?$/.exec(message) ?? [];
  const [, name, value] = NAME.exec(input) ?? [];
  const unnamed = what === 'unknown option' ? '; a text that begins with - goes after --' : '';
  const problem = what
    ? `${what}${name ? ` '${name}${value ? '=…' : ''}'` : unnamed}${suggestion}`
    : message.replace('error: ', '').replace(/\+?\d[\d ()+-]{5,}\d/g, '…');
  const more = what === 'unknown command' ? `\nCommands: ${commands.join(', ')}` : '';
  return problem.replace(/^./, (letter) => letter.toUpperCase()) + more;
}

/** Rejects a following flag as the value of this one. */
function value(text: string): string {
  if (text === '' || text.startsWith('--')) throw new InvalidArgumentError('Its value is missing.');
  return text;
}

function count(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number, 1 or more.');
}

function seconds(text: string): number {
  const number = Number(text);
  if (text.trim() !== '' && number > 0 && number <= MAX_TIMEOUT_S) return number;
  throw new InvalidArgumentError(`It must be a number of seconds, at most ${MAX_TIMEOUT_S}.`);
}
