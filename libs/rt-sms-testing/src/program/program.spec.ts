import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jest } from '@jest/globals';
import { call, send } from '../../test/support.js';
import { RtSmsSimulator } from '../simulator.js';
import { runSimulator } from './program.js';

let out = '';
let err = '';
let told: (() => void)[] = [];

beforeEach(() => {
  out = err = '';
  told = [];
  jest.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += String(text);
    for (const tell of told) tell();
    return true;
  });
  jest.spyOn(process.stderr, 'write').mockImplementation((text) => {
    err += String(text);
    return true;
  });
});
afterEach(() => jest.restoreAllMocks());

const printed = async (pattern: RegExp) => {
  for (;;) {
    const match = pattern.exec(out);
    if (match) return match[1] ?? '';
    await new Promise<void>((tell) => told.push(tell));
  }
};

it('prints its address, serves the inbox, and ends on a signal', async () => {
  const running = runSimulator(['--port', '0', '--login', 'me'], { RT_SMS_SIM_PASSWORD: 'my' });
  const inbox = await printed(/inbox +(\S+)\n[^]*\n\n.*--numbers/);
  expect(out).toMatch(
    /url +http:\/\/127.0.0.1:\d+\/api\/v2\/send_message\n +login +me\n +password +my\n +callbacks none/,
  );
  expect((await call(inbox)).text).toContain('<!doctype html>');
  process.emit('SIGTERM');
  expect(await running).toBe(0);
  await expect(call(inbox)).rejects.toThrow('ECONNREFUSED');
});

it('logs JSON with --json', async () => {
  const running = runSimulator(['--port', '0', '--json', '--manual'], {});
  const url = await printed(/"event":"started","url":"([^"]+)"/);
  await send({ url } as RtSmsSimulator);
  await printed(/"event":"exchange"/);
  process.emit('SIGINT');
  await running;
  const lines = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines).toMatchObject([
    { event: 'started', login: 'simulator' },
    { event: 'message', msisdn: '79270000001', status: 'accepted', time: expect.any(String) },
    { event: 'exchange', method: 'POST', status: 200 },
  ]);
  expect(out).not.toContain('secret');
});

it('plays a script', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'rt-sms-script-'));
  const file = join(folder, 'script.json');
  await writeFile(file, '[{ "waitMessages": 1 }, { "report": "failed" }]');
  const running = runSimulator(['--port', '0', '--json', '--manual', '--script', file], {});
  await send({ url: await printed(/"url":"([^"]+)"/) } as RtSmsSimulator);
  await printed(/"event":"status".*"status":"failed"/);
  process.emit('SIGTERM');
  expect(await running).toBe(0);

  await writeFile(file, '[{ "wait": 1 }]');
  expect(await runSimulator(['--script', file], {})).toBe(2);
  expect(err).toContain(`--script ${file}: step 1 must be one of`);
  await rm(folder, { recursive: true });
});

it('prints why it cannot start', async () => {
  const gateway = await RtSmsSimulator.start();
  const { port } = new URL(gateway.url);
  expect(await runSimulator(['--port', port], {})).toBe(1);
  expect(err).toBe(`RtSmsSimulator cannot listen on port ${port} of 127.0.0.1: the port is already in use\n`);
  await gateway.close();
});

it('names a missing script once', async () => {
  expect(await runSimulator(['--script', '/none.json'], {})).toBe(2);
  expect(err).toBe('--script /none.json: ENOENT: no such file or directory\nHelp: nestjs-rt-sms-testing --help\n');
});

describe('flags', () => {
  /** Options with which the program starts the simulator. */
  async function startedWith(args: string[], env: NodeJS.ProcessEnv = {}) {
    const start = jest.spyOn(RtSmsSimulator, 'start').mockRejectedValue(new Error('not started'));
    expect(await runSimulator(args, env)).toBe(1);
    return start.mock.calls.at(-1)![0];
  }

  it('are optional: it listens on 4010 with an inbox', async () => {
    expect(await startedWith([])).toEqual({ port: 4010, inbox: true });
  });

  const ALL = {
    port: 0,
    host: '::1',
    login: 'me',
    password: '-x-',
    callbackUrl: 'http://127.0.0.1:3000/x?y=1',
    allowFrom: ['127.0.0.1', '::1'],
    shortcodes: ['SHOP', 'БАНК'],
    loss: 0.1,
    duplicate: 0.2,
    reorder: 1,
    latencyMs: 20,
    perSecond: 50,
    seed: 7,
    inbox: { hosts: ['localhost', 'sms.test'] },
    notice: 'Staging',
    lifecycle: false,
  };

  it('set every option', async () => {
    const args =
      '--port 0 --host ::1 --login me --password=-x- --callback-url http://127.0.0.1:3000/x?y=1 ' +
      '--allow-from 127.0.0.1,::1 --shortcodes SHOP,БАНК --loss 0.1 --duplicate 0.2 --reorder 1 --latency 20 --rate 50 ' +
      '--seed 7 --inbox-host localhost,sms.test --notice Staging --manual --json';
    expect(await startedWith(args.split(' '))).toEqual(ALL);
  });

  it('take precedence over the environment, where empty, 0 and false mean unset', async () => {
    const env = {
      RT_SMS_SIM_PORT: '0',
      RT_SMS_SIM_HOST: '::1',
      RT_SMS_SIM_LOGIN: 'me',
      RT_SMS_SIM_PASSWORD: '-x-',
      RT_SMS_SIM_CALLBACK_URL: 'http://127.0.0.1:3000/x?y=1',
      RT_SMS_SIM_ALLOW_FROM: '127.0.0.1, ::1',
      RT_SMS_SIM_SHORTCODES: 'SHOP,БАНК',
      RT_SMS_SIM_LOSS: '0.1',
      RT_SMS_SIM_DUPLICATE: '0.2',
      RT_SMS_SIM_REORDER: '1',
      RT_SMS_SIM_LATENCY: '20',
      RT_SMS_SIM_RATE: '50',
      RT_SMS_SIM_SEED: '7',
      RT_SMS_SIM_INBOX_HOST: 'localhost,sms.test',
      RT_SMS_SIM_NOTICE: 'Staging',
      RT_SMS_SIM_MANUAL: '1',
      RT_SMS_SIM_SCRIPT: '',
      RT_SMS_SIM_NO_INBOX: '0',
      RT_SMS_SIM_NUMBERS: 'false',
      PATH: '/bin',
    };
    expect(await startedWith([], env)).toEqual(ALL);
    expect(await startedWith(['--port', '5'], env)).toEqual({ ...ALL, port: 5 });
    expect(await startedWith(['--no-inbox'], env)).toEqual({ ...ALL, inbox: false });
    expect(await startedWith([], { RT_SMS_SIM_NO_INBOX: '1' })).toEqual({ port: 4010, inbox: false });
  });

  it.each([
    ['--prot 5', "Unknown option '--prot'\n(Did you mean --port?)"],
    ['-p 5', "Unknown option '-p'"],
    ['4010', 'Too many arguments. Expected 0 arguments but got 1.'],
    ['--port', "Option '--port <PORT>' argument missing"],
    ['--port --json', "'--json' is invalid. Its value is missing."],
    ['--script --json', "'--json' is invalid. Its value is missing."],
    ['--json=yes', "Unknown option '--json=yes'"],
    ['--port 70000', "'70000' is invalid. It must be a whole number from 0 to 65535."],
    ['--port http', "'http' is invalid. It must be a whole number"],
    ['--port=', "Option '--port <PORT>' argument '' is invalid. Its value is missing."],
    ['--loss 30%', "'30%' is invalid. It must be a probability from 0 to 1."],
    ['--seed -1', 'It must be a whole number'],
    ['--latency Infinity', 'It must be milliseconds, 0 or more'],
    ['--rate -5', 'It must be requests per second'],
    ['--allow-from 127.0.0.1,me', "'127.0.0.1,me' is invalid. It must be a list of IP addresses."],
    [
      '--callback-url localhost:3000/hush',
      "Option '--callback-url <URL>' is invalid. It must be an http or https URL.",
    ],
    ['--password=--hush', "Option '--password <PASSWORD>' is invalid."],
    ['--login a:b --password hush', "'a:b' is invalid. It must not contain"],
  ])('end it with 2 if they are invalid: %s', async (args, problem) => {
    expect(await runSimulator(args.split(' '), {})).toBe(2);
    expect(err).toContain(problem);
    expect(err).toMatch(/\nHelp: nestjs-rt-sms-testing --help\n$/);
    expect(out).toBe('');
    expect(err).not.toContain('hush');
  });

  it.each([
    ['RT_SMS_SIM_LOS', '1', "RT_SMS_SIM_LOS: unknown option '--los'\n(Did you mean --loss?)"],
    ['RT_SMS_SIM_SEED', 'x', "RT_SMS_SIM_SEED: option '--seed <N>' argument 'x' is invalid. It must be a whole number"],
    ['RT_SMS_SIM_CALLBACK_URL', 'hush', "RT_SMS_SIM_CALLBACK_URL: option '--callback-url <URL>' is invalid."],
  ])('are named by the variable if they are invalid in the environment: %s', async (name, text, problem) => {
    expect(await runSimulator([], { [name]: text })).toBe(2);
    expect(err).toContain(problem);
    expect(err).not.toContain('hush');
  });
});

it('prints its help and the magic numbers', async () => {
  expect(await runSimulator(['--help'], {})).toBe(0);
  expect(out).toMatch(/^Usage: nestjs-rt-sms-testing [^]*\n  --port <PORT> [^]*\n  --json .*[^]*RT_SMS_SIM_PORT=4010/);
  expect(Math.max(...out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120);
  out = '';
  expect(await runSimulator(['--numbers'], {})).toBe(0);
  expect(out).toContain('79990000003  rejected, with err 11\n');
});
