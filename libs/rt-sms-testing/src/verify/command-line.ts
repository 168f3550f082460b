import { Command, InvalidArgumentError } from 'commander';
import { parseArguments } from '../program/parse-arguments.js';
import type { VerifyOptions } from './verify.js';

/** The flags and variables of `verify`, without the password. */
export interface VerifyArgs extends Omit<VerifyOptions, 'password'> {
  readonly json: boolean;
  /** Send messages without a question. */
  readonly yes: boolean;
}

interface Flags {
  readonly url?: string;
  readonly login?: string;
  readonly shortcode?: string;
  readonly send?: string;
  readonly timeout: number;
  readonly env?: string;
  readonly allowHttp?: boolean;
  readonly json?: boolean;
  readonly yes?: boolean;
}

/** The command line or the environment is invalid; no request was made. */
export class UsageError extends Error {}

const NAME = 'nestjs-rt-sms-testing verify';
const MAX_TIMEOUT_S = 600;

const AFTER_HELP = `
Set the password in the environment as RT_SMS_PASSWORD, or type it when asked. RT_SMS_URL, RT_SMS_LOGIN,
RT_SMS_SHORTCODE and RT_SMS_ALLOW_HTTP replace their flags.

Without --send no request can send a message. Four requests have wrong credentials on purpose.
Exit codes: 0 no difference, 1 the gateway differs from the document, 2 it was not verified: the flags are invalid, or
the gateway cannot be reached or rejects the account.`;

/**
 * @throws UsageError that names the invalid flag or variable
 * @returns the help, with `--help`
 */
export function parseVerifyArgs(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): { readonly args: VerifyArgs } | { readonly help: string } {
  const parsed = parseArguments(commandLine, args, (message, cause) => new UsageError(problemOf(message), { cause }));
  if ('help' in parsed) return parsed;
  const flags = parsed.program.opts<Flags>();
  if (flags.env !== undefined) loadVariables(flags.env);
  const { url = env['RT_SMS_URL'], login = env['RT_SMS_LOGIN'], shortcode = env['RT_SMS_SHORTCODE'] } = flags;
  const allowHttp = flags.allowHttp ?? ['1', 'true'].includes(env['RT_SMS_ALLOW_HTTP'] ?? '');
  if (!login) throw new UsageError('The login is missing. Fix: set --login or RT_SMS_LOGIN.');
  if (login.includes(':')) throw new UsageError('The login must not contain ":".');
  if (flags.send !== undefined && !shortcode)
    throw new UsageError('--send needs an agreed sender name. Fix: set --shortcode or RT_SMS_SHORTCODE.');
  return {
    args: {
      url: addressOf(url, allowHttp),
      login,
      shortcode: shortcode || undefined,
      number: flags.send,
      timeoutMs: flags.timeout * 1000,
      json: flags.json ?? false,
      yes: flags.yes ?? false,
    },
  };
}

function commandLine(print: (text: string) => void): Command {
  return new Command(NAME)
    .description('Compares a gateway with the document of the provider, and reports where it differs.')
    .exitOverride()
    .configureOutput({ writeOut: print, outputError: () => undefined })
    .configureHelp({ helpWidth: 120 })
    .option('--url <URL>', 'address of the API, such as https://sms.rt.ru/api/v2/send_message', value)
    .option('--login <LOGIN>', 'login of the account', value)
    .option('--shortcode <NAME>', 'agreed sender name', value)
    .option('--send <NUMBER>', 'also send messages to this number, which costs money', numberOf)
    .option('--yes', 'send them without a question')
    .option('--timeout <SECONDS>', 'time for each answer', seconds, 30)
    .option('--allow-http', 'allow http to another machine, which shows the password to the network')
    .option('--env <FILE>', 'read variables from a file, such as .env; those of the environment take precedence', value)
    .option('--json', 'print one JSON object')
    .helpOption('--help', 'print this help')
    .addHelpText('after', AFTER_HELP);
}

/** An error repeats neither the value of an unknown flag, which could be a password, nor a number. */
function problemOf(message: string): string {
  if (/^unknown option '--?pass/.test(message))
    return 'The password is not taken from the command line, which other users of the machine can see. Fix: set RT_SMS_PASSWORD.';
  return message
    .replace(/^(unknown option '-[^'=]*)=[^]*'/, "$1=…'")
    .replace(/^(option '--(?:send|url) [^']*') argument '[^]*?' is invalid/, '$1 is invalid')
    .replace(/^./, (letter) => letter.toUpperCase());
}

function addressOf(text: string | undefined, allowHttp: boolean): URL {
  if (!text) throw new UsageError('The address of the gateway is missing. Fix: set --url or RT_SMS_URL.');
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !['http:', 'https:'].includes(url.protocol)) throw new UsageError('--url must be an http or https URL.');
  if (url.username || url.password || url.search || url.hash)
    throw new UsageError('--url must not have credentials, a query or a fragment.');
  const isLoopback = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(url.hostname);
  if (url.protocol === 'http:' && !isLoopback && !allowHttp)
    throw new UsageError(`--url: http shows the password to the network. Fix: use https, or add --allow-http.`);
  url.pathname = url.pathname.replace(/\/+$/, '');
  return url;
}

function loadVariables(path: string): void {
  try {
    process.loadEnvFile(path);
  } catch (error) {
    throw new UsageError(`--env ${path}: ${String((error as NodeJS.ErrnoException).code ?? 'it cannot be read')}`, {
      cause: error,
    });
  }
}

/** Rejects a following flag as the value of this one. */
function value(text: string): string {
  if (text === '' || text.startsWith('--')) throw new InvalidArgumentError('Its value is missing.');
  return text;
}

function numberOf(text: string): string {
  const digits = value(text).replace(/^\+|[\s()-]/g, '');
  if (/^(?:7\d{10}|(?![78])[1-9]\d{7,14})$/.test(digits)) return digits;
  throw new InvalidArgumentError('It must be a number with its country code; those of Russia begin with 7.');
}

function seconds(text: string): number {
  const number = Number(text);
  if (text.trim() !== '' && number > 0 && number <= MAX_TIMEOUT_S) return number;
  throw new InvalidArgumentError(`It must be a number of seconds, at most ${MAX_TIMEOUT_S}.`);
}
