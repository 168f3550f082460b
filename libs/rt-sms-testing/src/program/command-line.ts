import { Command, InvalidArgumentError } from 'commander';
import { problemOfOption, type RtSmsSimulatorOptions } from '../options.js';
import { parseArguments } from './parse-arguments.js';

/** The parsed flags and environment variables. */
export interface ParsedArgs {
  readonly options: RtSmsSimulatorOptions;
  /** Path of a script. */
  readonly script: string | undefined;
  readonly json: boolean;
  readonly numbers: boolean;
  readonly version: boolean;
}

interface Flags extends Pick<
  RtSmsSimulatorOptions,
  | 'host'
  | 'login'
  | 'password'
  | 'callbackUrl'
  | 'allowFrom'
  | 'shortcodes'
  | 'loss'
  | 'duplicate'
  | 'reorder'
  | 'seed'
  | 'notice'
> {
  readonly port?: number;
  readonly latency?: number;
  readonly rate?: number;
  readonly inbox: boolean;
  readonly inboxHost?: { readonly hosts: readonly string[] };
  readonly manual?: boolean;
  readonly script?: string;
  readonly json?: boolean;
  readonly numbers?: boolean;
  readonly version?: boolean;
}

const PREFIX = 'RT_SMS_SIM_';
const DEFAULT_PORT = 4010;

const AFTER_HELP = `
Each flag can also be set in the environment: ${PREFIX}PORT=4010, ${PREFIX}JSON=1. A flag takes precedence.
Exit codes: 0 ended by a signal, 1 could not start, 2 the flags or the script are invalid.

To compare a gateway with the provider's document: nestjs-rt-sms-testing verify --help`;

/**
 * Flags take precedence over variables. With `--help`, the help is the result.
 * @throws TypeError that names the invalid flag or variable; it never shows the password or the callback address
 */
export function parseArgs(args: readonly string[], env: NodeJS.ProcessEnv): ParsedArgs | { help: string } {
  const fromEnvironment = Object.entries(env).flatMap(([name, text]) => {
    if (!name.startsWith(PREFIX) || !text) return [];
    const arg = argOf(name, text);
    // Parsed alone first, so that an error names the variable.
    if (arg !== undefined) parse([arg], `${name}: `);
    return arg ?? [];
  });
  return parse([...fromEnvironment, ...args]);
}

/** Turns `RT_SMS_SIM_PORT=4010` into `--port=4010`; a switch with the value 0 or false is left out. */
function argOf(name: string, text: string): string | undefined {
  const flag = `--${name.slice(PREFIX.length).toLowerCase().replaceAll('_', '-')}`;
  const option = commandLine().options.find(({ long }) => long === flag);
  if (option?.required) return `${flag}=${text}`;
  return ['0', 'false'].includes(text) ? undefined : flag;
}

function parse(args: readonly string[], where = ''): ParsedArgs | { help: string } {
  const parsed = parseArguments(commandLine, args, (message, cause) => {
    const problem = message
      .replace(/^(option '--(?:password|callback-url) [^']*') argument '[^]*' is invalid/, '$1 is invalid')
      .replace(/^./, (letter) => (where ? letter : letter.toUpperCase()));
    return new TypeError(`${where}${problem}`, { cause });
  });
  if ('help' in parsed) return parsed;
  const { port = DEFAULT_PORT, latency, rate, inbox, inboxHost, ...flags } = parsed.program.opts<Flags>();
  const { manual, script, json = false, numbers = false, version = false, ...options } = flags;
  return {
    options: {
      ...options,
      port,
      inbox: inbox && (inboxHost ?? true),
      ...(latency !== undefined && { latencyMs: latency }),
      ...(rate !== undefined && { perSecond: rate }),
      ...(manual && { lifecycle: false }),
    },
    script,
    json,
    numbers,
    version,
  };
}

function commandLine(print: (text: string) => void = () => undefined): Command {
  return new Command('nestjs-rt-sms-testing')
    .description("Simulates Rostelecom's SMS gateway (HTTP API, JSON), with an inbox that shows the messages.")
    .exitOverride()
    .configureOutput({ writeOut: print, outputError: () => undefined })
    .configureHelp({ helpWidth: 120 })
    .option('--port <PORT>', 'port to listen on, 0 for any free one (default: 4010)', as('port', number))
    .option('--host <ADDRESS>', 'address to listen on (default: 127.0.0.1)', as('host'))
    .option('--login <LOGIN>', 'login that clients must use (default: simulator)', as('login'))
    .option('--password <PASSWORD>', 'password that clients must use (default: secret)', as('password'))
    .option('--callback-url <URL>', 'address for callbacks (default: none are sent)', as('callbackUrl'))
    .option('--allow-from <IP,…>', 'client addresses, at most 15 (default: any)', as('allowFrom', list))
    .option('--shortcodes <NAME,…>', 'agreed sender names (default: any)', as('shortcodes', list))
    .option('--loss <0…1>', 'probability that a callback is lost (default: 0)', as('loss', number))
    .option('--duplicate <0…1>', 'probability that a callback is sent twice (default: 0)', as('duplicate', number))
    .option('--reorder <0…1>', 'probability that a callback follows the next one (default: 0)', as('reorder', number))
    .option('--latency <MS>', 'milliseconds before every answer (default: 0)', as('latencyMs', number))
    .option('--rate <N>', 'requests answered per second, 0 for no limit (default: 0)', as('perSecond', number))
    .option('--seed <N>', 'the same seed gives the same uids and callbacks (default: random)', as('seed', number))
    .option('--inbox-host <NAME,…>', 'names by which other machines may open the inbox', as('inbox', hosts))
    .option(
      '--notice <TEXT>',
      'text in the head of the inbox, such as the staging mode of the application',
      as('notice'),
    )
    .option('--no-inbox', 'serve the gateway only, without a page at /')
    .option('--manual', 'change statuses only in the inbox or by a script')
    .option('--script <FILE>', 'JSON list of faults and steps to play', notFlag)
    .option('--json', 'print a JSON line for every message, status, callback and request')
    .option('--numbers', 'list the numbers that produce each outcome')
    .option('--version', 'print the version')
    .helpOption('--help', 'print this help')
    .addHelpText('after', AFTER_HELP);
}

type Read = (text: string) => unknown;
const list = (text: string): string[] => text.split(',').map((entry) => entry.trim());
const hosts: Read = (text) => ({ hosts: list(text).filter((name) => name !== '') });
/** Leaves text that is not a number as it is; the options reject it later. */
const number: Read = (text) => (text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text));

/** Rejects a following flag as the value of this one. */
function notFlag(text: string): string {
  if (text === '' || text.startsWith('--')) throw new InvalidArgumentError('Its value is missing.');
  return text;
}

/** Reads and checks the value of an option of the simulator. */
function as(option: keyof RtSmsSimulatorOptions, read: Read = String): (text: string) => unknown {
  return (text) => {
    const value = read(notFlag(text));
    const problem = problemOfOption(option, value);
    if (problem !== undefined) throw new InvalidArgumentError(`It ${problem}.`);
    return value;
  };
}
