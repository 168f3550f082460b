import { once } from 'node:events';
import net from 'node:net';
import { PassThrough } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { jest } from '@jest/globals';
import { DeviatingGateway } from '../../test/deviating-gateway.js';
import { DEVIATIONS } from '../../test/deviations.js';
import { RtSmsSimulator, type RtSmsSimulatorOptions } from '../index.js';
import type { Terminal } from './ask.js';
import { runVerify } from './program.js';
import { ROWS } from './rows.js';
import type { RowResult } from './verify.js';

const LOGIN = 'my-account';
const PASSWORD = 'hush-hush-hush';
const NUMBER = '79270000001';
const ENV = { RT_SMS_LOGIN: LOGIN, RT_SMS_PASSWORD: PASSWORD };
const SEND = ['--send', NUMBER, '--shortcode', 'SHOP', '--yes'];
const NO_TERMINAL: Terminal = { input: new PassThrough() as unknown as NodeJS.ReadStream, output: new PassThrough() };

let simulator: RtSmsSimulator;
const start = async (options: RtSmsSimulatorOptions = {}) => {
  simulator = await RtSmsSimulator.start({ lifecycle: false, login: LOGIN, password: PASSWORD, ...options });
};
beforeEach(() => start());
afterEach(() => simulator.close());

/** Runs the program, and checks that its output contains no secret. */
async function run(args: readonly string[], env: NodeJS.ProcessEnv = ENV, terminal = NO_TERMINAL) {
  let [out, err] = ['', ''];
  const stdout = jest.spyOn(process.stdout, 'write').mockImplementation((text) => !!(out += String(text)));
  const stderr = jest.spyOn(process.stderr, 'write').mockImplementation((text) => !!(err += String(text)));
  try {
    const code = await runVerify(args, env, terminal);
    expect(out + err).not.toMatch(/hush|bXktYWNj|my-account|9270000001|Проверка/);
    return { code, out, err };
  } finally {
    stdout.mockRestore();
    stderr.mockRestore();
  }
}

interface Report {
  readonly url: string;
  readonly differ: number;
  readonly skipped: number;
  readonly rows: readonly RowResult[];
}
async function reportOf(url: string, ...args: string[]): Promise<Report & { readonly code: number }> {
  const { code, out } = await run(['--url', url, '--json', ...args]);
  return { code, ...(JSON.parse(out) as Report) };
}
const differing = ({ rows }: Report) => rows.filter((row) => row.differences.length > 0).map(({ row }) => row);

describe('verify, of the simulator', () => {
  it('finds no difference, and sends no message', async () => {
    const report = await reportOf(simulator.url);
    expect([report.code, report.differ, report.skipped, report.rows.length]).toEqual([0, 0, 0, 20]);
    expect(simulator.messages).toEqual([]);
    expect(simulator.requests).toEqual({ post: 12, get: 7 });
  });

  it('finds no difference with --send either, and sends three messages', async () => {
    const report = await reportOf(simulator.url, ...SEND);
    expect([report.code, report.differ, report.skipped, report.rows.length]).toEqual([0, 0, 0, ROWS.length]);
    expect(simulator.messages.map(({ msisdn, shortcode, credentials }) => [msisdn, shortcode, credentials])).toEqual([
      [NUMBER, 'SHOP', 'header'],
      [NUMBER, 'SHOP', 'header'],
      [NUMBER, 'SHOP', 'body'],
    ]);
  });

  it.each<[string, RtSmsSimulatorOptions, string]>([
    ['a number of another country', {}, '375291234567'],
    [
      'other agreed names, with statuses that advance',
      { shortcodes: ['SHOP'], lifecycle: { awaitingMs: 0, finalMs: 0 } },
      NUMBER,
    ],
    ['a rejected message', { lifecycle: { awaitingMs: 0, finalMs: 0 } }, '79990000003'],
  ])('finds none with %s', async (_, options, number) => {
    await simulator.close();
    await start(options);
    expect(differing(await reportOf(simulator.url, '--shortcode', 'SHOP', '--send', number, '--yes'))).toEqual([]);
  });
});

describe('verify, of a gateway that differs', () => {
  let gateway: DeviatingGateway;
  beforeEach(async () => {
    gateway = await DeviatingGateway.start(simulator.url);
  });
  afterEach(() => gateway.close());

  it('finds nothing where the gateway between changes nothing', async () => {
    expect((await reportOf(gateway.url, ...SEND)).differ).toBe(0);
  });

  it('accepts a wrong sender name for a wrong number only without --shortcode', async () => {
    gateway.change = ({ reason }) =>
      reason === 'invalid_field_msisdn' ? { text: '{"reason":"invalid_field_shortcode","status":"error"}' } : undefined;
    expect(differing(await reportOf(gateway.url))).toEqual([]);
    expect(differing(await reportOf(gateway.url, '--shortcode', 'SHOP'))).toEqual([
      'send to letters',
      'send to an empty number',
      'send without a number',
    ]);
  });

  it('has a deviation for every row', () => {
    expect(DEVIATIONS.length).toBeGreaterThanOrEqual(30);
    const found = new Set(DEVIATIONS.flatMap(({ rows }) => rows));
    expect(ROWS.map(({ name }) => name).filter((name) => !found.has(name))).toEqual([]);
  });

  it.each(DEVIATIONS)('finds it by its rows and by no others: $name', async ({ rows, change, finds }) => {
    let changed = 0;
    gateway.change = (exchange) => {
      const answer = change(exchange);
      if (answer) changed += 1;
      return answer;
    };
    const report = await reportOf(gateway.url, ...SEND);
    expect(changed).toBeGreaterThan(0);
    expect(differing(report).toSorted()).toEqual([...rows].toSorted());
    expect(report.code).toBe(1);
    for (const { differences } of report.rows.filter(({ row }) => rows.includes(row))) {
      expect(finds === undefined || differences.includes(finds) || differences).toBe(true);
    }
  });

  it('shows what was sent, what the document says, and what came', async () => {
    gateway.change = ({ reason }) => (reason === 'invalid_field_text' ? { status: 400 } : undefined);
    const { code, out, err } = await run(['--url', gateway.url, ...SEND]);
    expect([code, err]).toEqual([1, '']);
    expect(out).toContain(
      [
        'DIFFERS  send of an empty text (§1.6.1)',
        '           sent      POST /api/v2/send_message, Basic with login and password, {"msisdn":"7927*****01","shortcode":"SHOP","text":""}',
        '           document  200, {"reason":"invalid_field_text","status":"error"}',
        '           came      400, application/json; charset=utf-8, {"reason":"invalid_field_text","status":"error"}',
        '           - HTTP status 400, not 200',
        '',
      ].join('\n'),
    );
    expect(out).toMatch(/\nok {7}send\n[^]*\n31 rows: 3 differ from the document\.\n$/);
  });

  it('skips the status of a message that was not accepted', async () => {
    gateway.change = ({ accepted }) => (accepted ? { status: 503, text: '' } : undefined);
    const { out } = await run(['--url', gateway.url, ...SEND]);
    expect(out).toMatch(
      /\nskipped {2}status of the message: [^]*\n31 rows: 3 differ from the document; 1 skipped\.\n$/,
    );
  });

  it('shows nothing of the request that a gateway quotes', async () => {
    const basic = Buffer.from(`${LOGIN}:${PASSWORD}`).toString('base64');
    for (const quoted of [
      PASSWORD,
      PASSWORD.toUpperCase(),
      'hush',
      `x-${PASSWORD}`,
      LOGIN,
      basic,
      NUMBER,
      `n${NUMBER}`,
      'Проверка',
    ]) {
      gateway.change = ({ accepted, described }) => {
        const type = /^[\w-]+$/.test(quoted) ? { type: `${quoted}/${quoted}; charset=${quoted}` } : {};
        if (accepted) return { ...type, text: JSON.stringify({ [quoted]: quoted, status: quoted, reason: [quoted] }) };
        return described
          ? undefined
          : { ...type, text: JSON.stringify({ reason: quoted, status: quoted, at: Number(NUMBER) }) };
      };
      const { code, out } = await run(['--url', gateway.url, ...SEND]);
      expect(code).toBe(1);
      expect(out.toLowerCase()).not.toContain(`"${quoted.toLowerCase()}"`);
    }
  });

  it('sends no number without --send, so that no gateway can send a message', async () => {
    gateway.change = () => ({ status: 200, text: '{"result":{"uid":"message-id-1"},"status":"ok"}' });
    await run(['--url', gateway.url, '--shortcode', 'SHOP']);
    const bodies = gateway.seen.map(({ body }) => body).filter((body) => body !== '');
    expect(bodies.length).toBeGreaterThan(8);
    expect(bodies.filter((body) => /\d{5}/.test(body.replace(/"pass":"[^"]*"/, '')))).toEqual([]);
  });
});

describe('verify ends with 2', () => {
  it.each([
    ['--login x', 'The address of the gateway is missing. Fix: set --url or RT_SMS_URL.'],
    ['--url http://127.0.0.1:1/x', '127.0.0.1:1 cannot be reached: no connection (ECONNREFUSED). Fix: check --url'],
    [
      '--url http://sms.example/x',
      '--url: http shows the password to the network. Fix: use https, or add --allow-http.',
    ],
    ['--url ftp://127.0.0.1/x', '--url must be an http or https URL.'],
    ['--url http://u:hush@127.0.0.1/x', '--url must not have credentials, a query or a fragment.'],
    ['--url http://127.0.0.1/x --password hush', 'The password is not taken from the command line'],
    ['--url http://127.0.0.1/x --password=hush', 'The password is not taken from the command line'],
    ['--url http://127.0.0.1/x --pasword=hush', "Unknown option '--pasword=…'"],
    ['--url http://127.0.0.1/x --key=hush', "Unknown option '--key=…'"],
    [
      '--url http://127.0.0.1/x --send 89270000001',
      "Option '--send <NUMBER>' is invalid. It must be a number with its country",
    ],
    ['--url http://127.0.0.1/x --send 79270000001', '--send needs an agreed sender name.'],
    ['--url http://127.0.0.1/x --timeout 0', "Option '--timeout <SECONDS>' argument '0' is invalid."],
    ['--url http://127.0.0.1/x --env /none', '--env /none: ENOENT'],
  ])('%s', async (args, problem) => {
    const { code, out, err } = await run(args.split(' '));
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(problem);
    const { out: json } = await run([...args.split(' '), '--json']);
    expect((JSON.parse(json) as { error: { message: string } }).error.message).toContain(problem);
  });

  it.each<[string, RtSmsSimulatorOptions, NodeJS.ProcessEnv, RegExp]>([
    [
      'the password is wrong',
      {},
      { ...ENV, RT_SMS_PASSWORD: 'hushed' },
      /^The gateway .* 403 wrong_credentials\. Fix: .*password/,
    ],
    ['this machine is not in the list', { allowFrom: [] }, ENV, /^The gateway .* 403 wrong_ip\. Fix: add the address/],
    ['there is no password', {}, { RT_SMS_LOGIN: LOGIN }, /^The password is missing\. Fix: set RT_SMS_PASSWORD\.\n/],
    ['there is no login', {}, {}, /^The login is missing\. Fix: set --login or RT_SMS_LOGIN\.\n/],
  ])('where %s', async (_, options, env, problem) => {
    await simulator.close();
    await start(options);
    const { code, out, err } = await run(['--url', simulator.url], env);
    expect([code, out]).toEqual([2, '']);
    expect(err).toMatch(problem);
  });

  it.each([
    ['is silent', '', /does not answer: no complete answer within 0\.3 s|no connection within/],
    ['does not speak HTTP', 'SSH-2.0-x\r\n', /does not answer: an answer that is not HTTP \(HPE_\w+\)/],
  ])('where the server %s', async (_, greeting, problem) => {
    const server = net
      .createServer((socket) => socket.on('error', () => undefined).write(greeting))
      .listen(0, '127.0.0.1');
    try {
      await once(server, 'listening');
      const { port } = server.address() as net.AddressInfo;
      const time = greeting === '' ? ['--timeout', '0.3'] : [];
      const { code, err } = await run(['--url', `http://127.0.0.1:${port}/x`, ...time]);
      expect([code, problem.test(err)]).toEqual([2, true]);
    } finally {
      server.close();
    }
  });
});

describe('verify at a terminal', () => {
  /** Answers the questions that are printed, in order. */
  function typing(...answers: string[]) {
    const seen = { text: '', rawBefore: [] as string[] };
    const setRawMode = (isRaw: boolean) => void (isRaw && seen.rawBefore.push(seen.text));
    const input = Object.assign(new PassThrough(), { isTTY: true, setRawMode });
    const output = new PassThrough();
    output.on('data', (chunk: Buffer) => {
      seen.text += chunk.toString();
      if (/(?:Password: |\[y\/N\] )$/.test(chunk.toString())) setImmediate(() => input.write(`${answers.shift()}\r`));
    });
    return { terminal: { input: input as unknown as NodeJS.ReadStream, output }, seen };
  }

  it('asks for the password and does not echo it', async () => {
    const { terminal, seen } = typing(PASSWORD);
    expect((await run(['--url', simulator.url, '--login', LOGIN], {}, terminal)).code).toBe(0);
    expect(seen).toEqual({ text: 'Password: \n', rawBefore: [''] });
  });

  it.each([
    ['y', 0, 3],
    ['', 2, 0],
    ['n', 2, 0],
  ])('asks before it sends: %j', async (answer, code, messages) => {
    const { terminal, seen } = typing(answer);
    const { err, ...ended } = await run(
      ['--url', simulator.url, '--send', NUMBER, '--shortcode', 'SHOP'],
      ENV,
      terminal,
    );
    expect([ended.code, simulator.messages.length]).toEqual([code, messages]);
    expect(stripVTControlCharacters(seen.text)).toMatch(
      /^--send sends 3 messages to 7927\*{5}01 from SHOP through 127\.0\.0\.1:\d+, and up to 10 if the gateway accepts what the document rejects\.\nContinue\? \[y\/N\] /,
    );
    expect(err).toMatch(code === 0 ? /^$/ : /^Nothing was sent\./);
  });

  it('asks nothing without a terminal: --send needs --yes', async () => {
    const { code, err } = await run(['--url', simulator.url, '--send', NUMBER, '--shortcode', 'SHOP']);
    expect([code, simulator.requests]).toEqual([2, { post: 0, get: 0 }]);
    expect(err).toMatch(/^--send sends 3 messages to .* Fix: add --yes\./);
  });

  it('prints its help', async () => {
    const { code, out } = await run(['--help']);
    expect(code).toBe(0);
    expect(out).toMatch(
      /^Usage: nestjs-rt-sms-testing verify [^]*\n {2}--send <NUMBER> [^]*RT_SMS_PASSWORD[^]*Exit codes/,
    );
    expect(Math.max(...out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120);
  });
});
