import { parseArgs } from 'node:util';
import { problemOfOption, type RtSmsSimulatorOptions } from '../options.js';

/** What the flags and the environment ask for. */
export interface Wishes {
  readonly options: RtSmsSimulatorOptions;
  /** Path of a script. */
  readonly script: string | undefined;
  readonly json: boolean;
  readonly help: boolean;
  readonly numbers: boolean;
}

type Read = (text: string) => unknown;

/** A flag with a value; in the environment it is `RT_SMS_SIM_` and its name. */
interface Flag {
  readonly option?: keyof RtSmsSimulatorOptions;
  readonly value: string;
  readonly says: string;
  readonly read?: Read;
  /** Not to be shown when it is wrong. */
  readonly secret?: true;
}

const list: Read = (text) => text.split(',').map((entry) => entry.trim());
/** What is no number stays text, which the options refuse. */
const number: Read = (text) => (text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text));

const FLAGS: Readonly<Record<string, Flag>> = {
  port: { option: 'port', value: 'PORT', says: 'port to listen on, 0 for any free one (4010)', read: number },
  host: { option: 'host', value: 'ADDRESS', says: 'address to listen on (127.0.0.1)' },
  login: { option: 'login', value: 'LOGIN', says: 'what clients must log in with (simulator)' },
  password: { option: 'password', value: 'PASSWORD', says: '(secret)', secret: true },
  'callback-url': { option: 'callbackUrl', value: 'URL', says: 'where callbacks go (nowhere)' },
  'allow-from': { option: 'allowFrom', value: 'IP,IP…', says: 'client addresses, at most 15 (anybody)', read: list },
  shortcodes: { option: 'shortcodes', value: 'NAME,NAME…', says: 'agreed sender names (any)', read: list },
  loss: { option: 'loss', value: '0…1', says: 'probability that a callback is lost (0)', read: number },
  duplicate: { option: 'duplicate', value: '0…1', says: 'that it is sent twice (0)', read: number },
  reorder: { option: 'reorder', value: '0…1', says: 'that it comes after the next one (0)', read: number },
  latency: { option: 'latencyMs', value: 'MS', says: 'milliseconds before every answer (0)', read: number },
  rate: { option: 'perSecond', value: 'N', says: 'requests answered in a second, 0 for no limit (0)', read: number },
  seed: { option: 'seed', value: 'N', says: 'same seed, same uids and fates of callbacks (random)', read: number },
  'inbox-host': {
    option: 'inbox',
    value: 'NAME,NAME…',
    says: 'lets other machines use the inbox under these names',
    read: (text) => ({ hosts: (list(text) as string[]).filter((name) => name !== '') }),
  },
  script: { value: 'FILE', says: 'JSON list of faults and steps to play' },
};

const SWITCHES = {
  manual: 'statuses change by hand only, in the inbox or by a script',
  'no-inbox': 'the gateway alone, nothing at /',
  json: 'a JSON line for every message, status, callback and request',
  numbers: 'list the numbers that give each outcome, and end',
  help: 'this text',
} as const;

const NAMES = [...Object.keys(FLAGS), ...Object.keys(SWITCHES)];
const PREFIX = 'RT_SMS_SIM_';
const DEFAULT_PORT = 4010;

const LINES = [
  ...Object.entries(FLAGS).map(([name, { value, says }]) => [`--${name} ${value}`, says] as const),
  ...Object.entries(SWITCHES).map(([name, says]) => [`--${name}`, says] as const),
];

export const HELP = `Usage: nestjs-rt-sms-testing [flags]

A simulator of Rostelecom's SMS gateway (HTTP API, JSON), with an inbox to look at.

${LINES.map(([flag, says]) => `  ${flag.padEnd(24)} ${says}`).join('\n')}

In brackets: the default. Each can be set in the environment, too: ${PREFIX}PORT=4010, ${PREFIX}JSON=1; a flag goes first.
`;

/** @throws TypeError that lists what is wrong and what is accepted; it never shows the password */
export function readFlags(args: readonly string[], env: NodeJS.ProcessEnv): Wishes {
  const problems: string[] = [];
  const given = new Map<string, { readonly name: string; readonly text: string }>();
  const accept = (flag: string, name: string, text: string): void => void given.set(flag, { name, text });
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith(PREFIX) || !text) continue;
    const flag = name.slice(PREFIX.length).toLowerCase().replaceAll('_', '-');
    if (!NAMES.includes(flag)) problems.push(`there is no ${name}${meant(flag)}`);
    else if (flag in FLAGS || !['0', 'false'].includes(text)) accept(flag, name, text);
  }
  const config = Object.fromEntries([
    ...Object.keys(FLAGS).map((flag) => [flag, { type: 'string' as const }]),
    ...Object.keys(SWITCHES).map((flag) => [flag, { type: 'boolean' as const }]),
  ]);
  const { tokens } = parseArgs({ args: [...args], options: config, strict: false, tokens: true });
  for (const token of tokens) {
    if (token.kind === 'positional') problems.push(`"${token.value}" is no flag`);
    if (token.kind !== 'option') continue;
    const { name, rawName, value } = token;
    if (!Object.hasOwn(config, name)) problems.push(`there is no ${rawName}${meant(name)}`);
    else if (name in SWITCHES && value !== undefined) problems.push(`${rawName} takes no value`);
    else if (name in FLAGS && (value === undefined || (!token.inlineValue && value.startsWith('--')))) {
      problems.push(`${rawName} needs a value: ${rawName} ${FLAGS[name]?.value}`);
    } else accept(name, rawName, value ?? '1');
  }
  const options: Record<string, unknown> = { port: DEFAULT_PORT, inbox: true };
  for (const [flag, { name, text }] of given) {
    const { option, read = String, secret } = FLAGS[flag] ?? {};
    if (!option) continue;
    const value = read(text);
    const problem = problemOfOption(option, value);
    if (problem !== undefined) problems.push(`${name} ${problem}${secret ? '' : `, not "${text}"`}`);
    options[option] = value;
  }
  if (problems.length > 0) {
    throw new TypeError([...problems, `The flags are ${NAMES.map((name) => `--${name}`).join(', ')}`].join('\n'));
  }
  return {
    options: {
      ...options,
      ...(given.has('no-inbox') && { inbox: false }),
      ...(given.has('manual') && { lifecycle: false }),
    },
    script: given.get('script')?.text,
    json: given.has('json'),
    help: given.has('help'),
    numbers: given.has('numbers'),
  };
}

function meant(wrong: string): string {
  const near = NAMES.filter((name) => name.slice(0, 3) === wrong.slice(0, 3));
  return near.length > 0 ? `, maybe --${near.join(' or --')}?` : '';
}
