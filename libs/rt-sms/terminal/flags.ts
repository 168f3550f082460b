import { parseArgs } from 'node:util';

interface Command {
  readonly takes: readonly string[];
  readonly says: string;
}

const COMMANDS = {
  send: { takes: ['NUMBER', 'TEXT'], says: 'send one message' },
  status: { takes: ['UID'], says: 'ask what became of it' },
  bulk: { takes: ['FILE.csv'], says: 'send a file of numbers and texts; run again, it goes on where it ended' },
  doctor: { takes: [], says: 'check configuration, network, credentials and callbacks; sends nothing' },
  secret: { takes: [], says: 'make a callback secret, and the address for the cabinet' },
} as const satisfies Record<string, Command>;
export type CommandName = keyof typeof COMMANDS;

interface Flag {
  readonly of: readonly CommandName[];
  /** Missing: the flag is a switch. */
  readonly value?: string;
  readonly says: string;
}

const ALL = ['send', 'status', 'bulk', 'doctor', 'secret'] as const;
const FLAGS = {
  shortcode: { of: ['send', 'bulk', 'doctor'], value: 'NAME', says: 'sender name, in place of RT_SMS_SHORTCODE' },
  results: { of: ['bulk'], value: 'FILE', says: 'what became of each row (beside FILE.csv: FILE.results.csv)' },
  encoding: { of: ['bulk'], value: 'NAME', says: 'utf-8, windows-1251, … (found out by itself)' },
  'dry-run': { of: ['bulk'], says: 'check the file, send nothing' },
  'skip-invalid': { of: ['bulk'], says: 'send the good rows although there are bad ones' },
  'resend-unknown': { of: ['bulk'], says: 'send again what may have been sent: somebody may get it twice' },
  'callback-url': { of: ['doctor'], value: 'URL', says: 'where the application takes callbacks, without the secret' },
  url: { of: ['secret'], value: 'URL', says: 'the same; without a path, the usual one' },
  account: { of: ALL, value: 'NAME', says: 'a named account: reads RT_SMS_NAME_…' },
  // Node itself takes --env-file, even behind a script, and ends where there is no such file.
  env: { of: ALL, value: 'FILE', says: 'variables that the environment does not have' },
  json: { of: ALL, says: 'JSON on stdout' },
  help: { of: ALL, says: 'this text' },
  version: { of: ALL, says: 'which version this is' },
} as const satisfies Record<string, Flag>;
type FlagName = keyof typeof FLAGS;

const COMMAND_NAMES = Object.keys(COMMANDS) as CommandName[];
const FLAG_NAMES = Object.keys(FLAGS) as FlagName[];
const flagOf = (name: FlagName): Flag => FLAGS[name];
const usage = (name: CommandName) => [name, ...COMMANDS[name].takes].join(' ');

const column = (rows: readonly (readonly [string, string])[]) =>
  rows.map(([name, says]) => `  ${name.padEnd(24)} ${says}`).join('\n');

export const HELP = `Usage: nestjs-rt-sms COMMAND [flags]

${column(COMMAND_NAMES.map((name) => [usage(name), COMMANDS[name].says]))}

${column(
  FLAG_NAMES.map((name) => {
    const { of, value = '', says } = flagOf(name);
    return [`--${name} ${value}`, of.length < ALL.length ? `${of.join(', ')}: ${says}` : says];
  }),
)}

The account is in the environment, as for the module: RT_SMS_LOGIN, RT_SMS_PASSWORD, RT_SMS_SHORTCODE, RT_SMS_URL, …
Exit codes: 0 done; 1 rejected, not sent, or a check failed; 2 wrong flags, file or configuration, nothing was sent;
3 a message may have been sent and nobody can know; 130 stopped by Ctrl-C.`;

/** The command line or a file is wrong; nothing was sent. */
export class UsageError extends Error {
  /** For `--json`: which rows, and what is wrong with them. */
  rows?: readonly object[];
}

/** What the command line asks for. */
export interface Wishes {
  readonly command: CommandName;
  /** As many as the command takes. */
  readonly args: readonly string[];
  flag(name: FlagName): string | undefined;
  has(name: FlagName): boolean;
}

/** @throws UsageError that lists what is wrong and what is accepted */
export function readFlags(args: readonly string[]): Wishes {
  const options = Object.fromEntries(
    FLAG_NAMES.map((name) => [name, { type: flagOf(name).value ? ('string' as const) : ('boolean' as const) }]),
  );
  const { tokens } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true });
  const [named, ...positionals] = tokens.flatMap((token) => (token.kind === 'positional' ? [token.value] : []));
  const command = COMMAND_NAMES.find((name) => name === named);
  if (!command) {
    const wrong = named === undefined ? 'there is no command' : `there is no ${named}${meant(named, COMMAND_NAMES)}`;
    throw new UsageError(`${wrong}\nThe commands are ${COMMAND_NAMES.join(', ')}`);
  }
  const problems: string[] = [];
  const accepted = FLAG_NAMES.filter((name) => flagOf(name).of.includes(command));
  const given = new Map<string, string>();
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const { name, rawName, value } = token;
    const known = accepted.find((flag) => flag === name);
    const { value: takes, of } = Object.hasOwn(FLAGS, name) ? flagOf(name as FlagName) : {};
    if (known && !takes && value !== undefined) problems.push(`${rawName} takes no value`);
    else if (known && takes && (!value || (!token.inlineValue && value.startsWith('--'))))
      problems.push(`${rawName} needs a value: ${rawName} ${takes}`);
    else if (known) given.set(known, value ?? '');
    else if (of) problems.push(`${rawName} is for ${of.join(' and ')}`);
    else problems.push(`there is no ${rawName}${meant(name, accepted, '--')}`);
  }
  const { takes } = COMMANDS[command];
  if (positionals.length !== takes.length) {
    const hint = command === 'send' ? '; put the text in quotes, and -- before one that begins with -' : '';
    problems.push(`it is ${usage(command)}, not ${positionals.length} arguments${hint}`);
  }
  if (problems.length > 0) {
    const flags = accepted.map((name) => `--${name}`).join(', ');
    throw new UsageError(`${problems.join('\n')}\nThe flags of ${command} are ${flags}`);
  }
  return { command, args: positionals, flag: (name) => given.get(name), has: (name) => given.has(name) };
}

function meant(wrong: string, names: readonly string[], prefix = ''): string {
  const near = names.filter((name) => name.startsWith(wrong.slice(0, 3)) || distance(wrong.slice(0, 40), name) < 3);
  return near.length > 0 ? `, maybe ${near.map((name) => prefix + name).join(' or ')}?` : '';
}

/** How many letters have to be changed, left out or put in. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, n) => n);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++)
      next.push(Math.min(row[j]! + Number(letter !== b[j]), row[j + 1]! + 1, next[j]! + 1));
    row = next;
  }
  return row[b.length]!;
}
