import { readFile } from 'node:fs/promises';
import { jest } from '@jest/globals';
import { refusingPort } from '../faults/dead-ends.js';
import { atEnd } from '../platforms.js';
import {
  compileTerminal,
  environment,
  PASSWORD,
  runHere,
  runToEnd,
  startGateway,
  temporary,
  TerminalProcess,
} from './compiled.js';

jest.setTimeout(90_000);

/** A port that stays closed during the test and cannot be taken by another process. */
async function closedPort(): Promise<string> {
  const { host, close } = await refusingPort();
  atEnd(close);
  return host;
}
const json = (text: string) => JSON.parse(text) as Record<string, unknown>;

describe('as a process', () => {
  let program: Awaited<ReturnType<typeof compileTerminal>>;
  beforeAll(async () => {
    program = await compileTerminal();
  }, 120_000);
  afterAll(() => program.remove());

  it('sends, and requests the status', async () => {
    const { gateway, env } = await startGateway();
    const sent = await runToEnd(program.bin, ['send', '8 927 000-00-01', 'Привет'], env);
    const [{ uid, ...message }] = gateway.messages as [(typeof gateway.messages)[number]];
    expect(message).toMatchObject({ msisdn: '79270000001', text: 'Привет', shortcode: 'SHOP' });
    expect(sent).toEqual({
      code: 0,
      stdout: `${uid}\nAccepted by the gateway for 7927*****01 as SHOP, 1 segment\nDelivery status: nestjs-rt-sms status ${uid}\n`,
      stderr: '',
    });

    await gateway.report(uid, 'delivered');
    const { code, stdout } = await runToEnd(program.bin, ['status', uid, '--json'], env);
    expect(json(stdout)).toMatchObject({ uid, status: 'delivered', final: true, msisdn: '7927*****01' });
    expect(stdout).not.toContain('Привет');
    expect(code).toBe(0);
  });

  it('finds the account in a file, too', async () => {
    const { gateway, env } = await startGateway();
    const { write } = await temporary();
    const { RT_SMS_SHORTCODE: shortcode = '', ...rest } = env;
    const variables = Object.entries({ ...rest, RT_SMS_SHORTCODE: 'another' });
    const file = await write('.env', variables.map(([name, value]) => `${name}=${value}\n`).join(''));
    const args = ['send', '79270000001', 'Hi', '--env', file];
    // Variables of the environment take precedence.
    await expect(runToEnd(program.bin, args, { RT_SMS_SHORTCODE: shortcode })).resolves.toMatchObject({ code: 0 });
    expect(gateway.messages).toMatchObject([{ shortcode }]);
    for (const missing of [
      ['--env', '/none'],
      ['--env=/none', '--json'],
    ]) {
      const { code, stdout, stderr } = await runToEnd(program.bin, ['send', '79270000001', 'Hi', ...missing], env);
      expect(stdout + stderr).toMatch(/--env \/none: ENOENT: no such file or directory(\n$|")/);
      expect(code).toBe(2);
    }
    expect(gateway.messages).toHaveLength(1);
  });

  it('prints its version', async () => {
    const { version } = json(await readFile('libs/rt-sms/package.json', 'utf8'));
    const told = { code: 0, stdout: `${String(version)}\n`, stderr: '' };
    await expect(runToEnd(program.bin, ['--version'])).resolves.toEqual(told);
    const { stdout } = await runToEnd(program.bin, ['send', '--version', '--json']);
    expect(json(stdout)).toEqual({ version });
  });

  it('reports an invalid flag before it loads the framework', async () => {
    const { code, stdout, stderr } = await runToEnd(program.bin, ['send', '--shrotcode', 'x', '79270000001', 'Hi']);
    expect(stderr).toBe("Unknown option '--shrotcode'\n(Did you mean --shortcode?)\nHelp: nestjs-rt-sms send --help\n");
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  it('points to a .env file that it does not read by itself', async () => {
    const { gateway, env } = await startGateway();
    const { folder, write } = await temporary();
    const before = `cd ${folder}`;
    const args = ['send', '79270000001', 'Hi'];
    const hint = /\.env file .*--env \.env/;
    expect((await runToEnd(program.bin, args, {}, { before })).stderr).not.toMatch(hint);
    await write(
      '.env',
      Object.entries(env)
        .map((pair) => `${pair.join('=')}\n`)
        .join(''),
    );
    expect((await runToEnd(program.bin, ['doctor'], {}, { before })).stdout).toMatch(hint);
    expect((await runToEnd(program.bin, args, {}, { before })).stderr).toMatch(hint);
    expect(gateway.requests.post).toBe(0);
    const sent = await runToEnd(program.bin, [...args, '--env', '.env'], {}, { before });
    expect(sent).toMatchObject({ code: 0, stderr: '' });
  });

  it.each([
    ['the text', ['79270000001', '-'], 'Ваш код\r\n4711\r\n', 'Ваш код\r\n4711'],
    ['number and text', ['-'], '\uFEFF8 927 000-00-01\r\nfirst\nsecond', 'first\nsecond'],
    ['the number', ['-', 'Hi'], '79270000001\n', 'Hi'],
  ])('reads %s from standard input', async (_, args, input, text) => {
    const { gateway, env } = await startGateway();
    const ended = await runToEnd(program.bin, ['send', ...args], env, { input });
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(gateway.messages).toMatchObject([{ msisdn: '79270000001', text }]);
  });

  it.each([
    ['what is not UTF-8', Buffer.from([0xcf, 0xf0, 0xe8, 0xe2, 0xe5, 0xf2]), /^Standard input is not UTF-8/],
    ['an endless text', 'Hi '.repeat(50_000), /^Standard input is too long/],
  ])('sends nothing for %s on standard input', async (_, input, problem) => {
    const { gateway, env } = await startGateway();
    const ended = await runToEnd(program.bin, ['send', '79270000001', '-'], env, { input });
    expect(ended).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(problem) });
    expect(gateway.requests.post).toBe(0);
  });

  it('on Ctrl-C prints that a message in flight may have been sent', async () => {
    const { gateway, env } = await startGateway();
    gateway.nextSend({ fault: 'timeout', accepted: true });
    const running = new TerminalProcess(program.bin, ['send', '79270000001', 'Hi'], env);
    await gateway.waitForMessage();
    running.kill('SIGINT');
    expect(await running.ended).toBe(3);
    expect(running.stderr).toMatch(/while waiting for the answer\. The message may have been sent/);
  });

  it('on Ctrl-C while it waits for the final status still prints the uid', async () => {
    const { gateway, env } = await startGateway();
    const running = new TerminalProcess(program.bin, ['send', '79270000001', 'Hi', '--wait'], env);
    await running.said(/Waiting for the final status, at most 300 s\n/);
    running.kill('SIGINT');
    expect(await running.ended).toBe(130);
    const [{ uid }] = gateway.messages as [(typeof gateway.messages)[number]];
    expect(running.stderr).toContain(uid);
    expect(running.stdout).toMatch(new RegExp(`^${uid}\nStopped before the final status arrived\\.`));
  });
});

describe('send', () => {
  it('uses another sender, and masks the number in the JSON', async () => {
    const { gateway, env } = await startGateway();
    const { code, stdout } = await runHere(['send', '+79270000001', 'Hi', '--shortcode', 'BANK', '--json'], env);
    const [{ uid }] = gateway.messages as [(typeof gateway.messages)[number]];
    expect(json(stdout)).toEqual({
      outcome: 'sent',
      uid,
      msisdn: '7927*****01',
      shortcode: 'BANK',
      segments: 1,
      attempts: 1,
      requestId: expect.any(String),
    });
    expect(code).toBe(0);
  });

  it.each([
    ['79990000011', 1, 'rejected', 'RT_SMS_REJECTED'],
    ['79990000019', 1, 'rejected', 'RT_SMS_AUTH'],
    ['79990000023', 3, 'unknown', 'RT_SMS_UNEXPECTED_RESPONSE'],
    ['79990000021', 3, 'unknown', 'RT_SMS_TIMEOUT'],
    ['7999', 2, 'not_sent', 'RT_SMS_VALIDATION'],
  ])('to %s ends with %d', async (msisdn, code, outcome, error) => {
    const { env } = await startGateway();
    // A limit only for faults that need one; it is long enough for the message to leave.
    const limited = error === 'RT_SMS_TIMEOUT' ? { ...env, RT_SMS_SEND_TIMEOUT_MS: '1500' } : env;
    const ended = await runHere(['send', msisdn, 'Hi', '--json'], limited);
    expect(json(ended.stdout)).toMatchObject({ outcome, error: { code: error, message: expect.any(String) } });
    expect(ended.code).toBe(code);
    const forPeople = await runHere(['send', msisdn, 'Hi'], limited);
    expect(forPeople).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(/^[A-Z][^]*\n$/) });
  });

  it('to a closed port ends with 1: nothing was sent', async () => {
    const env = environment(`http://${await closedPort()}/`);
    const { code, stderr } = await runHere(['send', '79270000001', 'Hi'], env);
    expect(stderr).toMatch(/^Nothing was sent: no connection to 127\.0\.0\.1:\d+: .*ECONNREFUSED/);
    expect(code).toBe(1);
  });
});

describe('send --wait', () => {
  it.each([
    ['79270000001', 0, 'delivered', /^message-id-\w+\ndelivered\n$/],
    ['79990000002', 1, 'failed', /^message-id-\w+\nfailed\n$/],
    ['79990000003', 1, 'rejected', /^message-id-\w+\nrejected, error 11\n$/],
    ['79990000004', 1, 'insufficient_balance', /^message-id-\w+\ninsufficient_balance\n$/],
  ])('to %s ends with %d: %s', async (msisdn, code, status, text) => {
    const { gateway, env } = await startGateway({ lifecycle: { awaitingMs: 0, finalMs: 0 } });
    const ended = await runHere(['send', msisdn, 'Hi', '--wait', '--json'], env);
    const [{ uid }] = gateway.messages as [(typeof gateway.messages)[number]];
    expect(json(ended.stdout)).toMatchObject({ outcome: 'sent', uid, status, final: true });
    expect(ended.code).toBe(code);
    const forPeople = await runHere(['send', msisdn, 'Hi', '--wait'], env);
    expect(forPeople).toMatchObject({ code, stdout: expect.stringMatching(text) });
    expect(gateway.messages).toHaveLength(2);
  });

  it('ends with 4 if the final status does not arrive in time, and with the code of a failed send', async () => {
    const { gateway, env } = await startGateway({ lifecycle: { awaitingMs: 0, finalMs: 60_000 } });
    const late = await runHere(['send', '79270000001', 'Hi', '--timeout', '2', '--json'], env);
    expect(late.code).toBe(4);
    const [{ uid }] = gateway.messages as [(typeof gateway.messages)[number]];
    expect(json(late.stdout)).toMatchObject({ outcome: 'sent', uid, status: 'awaiting_report', final: false });
    const refused = await runHere(['send', '79990000011', 'Hi', '--wait', '--json'], env);
    expect(json(refused.stdout)).toMatchObject({ outcome: 'rejected' });
    expect(refused.code).toBe(1);
    await expect(runHere(['send', '79990000023', 'Hi', '--wait'], env)).resolves.toMatchObject({ code: 3 });
  });
});

describe('status', () => {
  it.each([
    ['delivered', 0, /^delivered, segments 1, 20\d\d-/],
    ['awaiting_report', 0, /^awaiting_report, not final, /],
    ['failed', 1, /^failed, /],
    ['rejected', 1, /^rejected, error 11, /],
    ['lost in space', 3, /^unknown, the gateway's status is lost in space, not final, /],
  ])('%s ends with %d', async (status, code, says) => {
    const { gateway, env } = await startGateway();
    await runHere(['send', '79270000001', 'Hi'], env);
    const { uid } = gateway.messages[0]!;
    await gateway.report(uid, status, status === 'rejected' ? { err: '11' } : {});
    // The uid without its prefix works too.
    const ended = await runHere(['status', uid.replace('message-id-', '')], env);
    expect(ended).toMatchObject({ code, stdout: expect.stringMatching(says), stderr: '' });
  });

  it('of an unknown uid ends with 1, of an unreachable gateway with 3, of an invalid uid with 2', async () => {
    const { env } = await startGateway();
    await expect(runHere(['status', 'message-id-1'], env)).resolves.toMatchObject({ code: 1 });
    await expect(runHere(['status', 'a/b'], env)).resolves.toMatchObject({ code: 2 });
    const dead = environment(`http://${await closedPort()}/`);
    await expect(runHere(['status', 'message-id-1'], dead)).resolves.toMatchObject({ code: 3 });
  });
});

describe('the account', () => {
  it('is reported by the names of all missing variables', async () => {
    const { code, stderr } = await runHere(['send', '79270000001', 'Hi'], {
      RT_SMS_PASSWORD: PASSWORD,
      RT_SMS_SEND_TIMEOUT_MS: 'soon',
      RT_SMS_RATE_PER_SECOND: '0',
      RT_SMS_CALLBACK_ALLOW_FROM: 'me',
    });
    for (const name of ['LOGIN', 'SEND_TIMEOUT_MS', 'RATE_PER_SECOND', 'CALLBACK_ALLOW_FROM'])
      expect(stderr).toMatch(new RegExp(`^ {2}RT_SMS_${name}: `, 'm'));
    expect(code).toBe(2);
  });

  it('may be a named one', async () => {
    const { gateway, env } = await startGateway();
    const named = Object.entries(env).map(([name, value]) => [name.replace('RT_SMS_', 'RT_SMS_OTP_RU_'), value]);
    const args = ['send', '79270000001', 'Hi', '--account', 'otp-ru'];
    await expect(runHere(args)).resolves.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('  RT_SMS_OTP_RU_LOGIN: is missing'),
    });
    expect(await runHere(args, Object.fromEntries(named))).toMatchObject({ code: 0, stderr: '' });
    expect(gateway.messages).toHaveLength(1);
  });
});

describe('the cost of a file', () => {
  it('is shown before it is sent, with the characters that make Latin texts UCS-2; control characters as codes', async () => {
    const { gateway, env } = await startGateway();
    const { write } = await temporary();
    const rows = ['It’s here', 'It’s 5\u00A0kg', 'Red \u001B[31m', 'Привет – «мир»', 'Plain'];
    const file = await write('m.csv', rows.map((text, n) => `7927000000${n};"${text}"\n`).join(''));
    const { code, stdout } = await runHere(['bulk', file, '--dry-run'], env);
    expect(code).toBe(0);
    expect(stdout).toMatch('5 to send in 5 segments');
    expect(stdout).toMatch(/UCS-2, with less .*: ’ in 2 rows, U\+00A0 in 1 row, U\+001B in 1 row\n/);
    for (const character of ['\u001B', '–', '«']) expect(stdout).not.toContain(character);

    const { isTTY } = process.stdin;
    process.stdin.isTTY = false;
    atEnd(() => (process.stdin.isTTY = isTTY));
    const asked = await runHere(['bulk', file, '--max-segments', '4'], env);
    expect(asked.code).toBe(2);
    expect(asked.stderr).toMatch(/^Nothing was sent\. [^]*more than --max-segments 4/);
    expect(gateway.requests.post).toBe(0);
    expect((await runHere(['bulk', file, '--max-segments', '5'], env)).code).toBe(0);
    expect(gateway.messages).toHaveLength(5);
  });
});

it('generates a secret, and the address for the cabinet', async () => {
  const { code, stdout } = await runHere(['secret', '--url', 'https://shop.example/api/sms/', '--json']);
  const { secret, url } = json(stdout) as { secret: string; url: string };
  expect(secret).toMatch(/^[\w-]{32}$/);
  expect(url).toBe(`https://shop.example/api/sms/${secret}`);
  expect(code).toBe(0);
  const other = await runHere(['secret']);
  expect(other.stdout).toMatch(
    / RT_SMS_CALLBACK_SECRETS=([\w-]{32})\n.* https:\/\/your-host\/rt-sms\/callback\/\1\n$/i,
  );
  expect(other.stdout).not.toContain(secret);
  const named = await runHere(['secret', '--account', 'otp', '--url', 'https://shop.example:8443']);
  expect(named.stdout).toMatch(
    / RT_SMS_OTP_CALLBACK_SECRETS=.*\n.* https:\/\/shop\.example:8443\/rt-sms\/otp\/callback\//,
  );
  for (const wrong of ['shop.example', 'https://', 'https://a?b'])
    await expect(runHere(['secret', '--url', wrong])).resolves.toMatchObject({ code: 2 });
});

describe('an invalid command line', () => {
  it.each([
    ['', 'A command is missing\n\nUsage: nestjs-rt-sms '],
    ['frob', "Unknown command 'frob'\nCommands: send, status, bulk, doctor, secret\nHelp: nestjs-rt-sms --help"],
    ['sned', "Unknown command 'sned'\n(Did you mean send?)\nCommands: "],
    ['79270000001 Hi', 'Unknown command\nCommands: '],
    ['send --wat', "Unknown option '--wat'\n(Did you mean --wait?)"],
    ['send', "Missing required argument 'NUMBER'\nHelp: nestjs-rt-sms send --help"],
    ['send 79270000001', "Missing required argument 'TEXT'"],
    ['send 79270000001 Hello Ivan', "Too many arguments for 'send'. Expected 2 arguments but got 3."],
    ['send 79270000001 -5%today', 'Unknown option; a text that begins with - goes after --\n'],
    ['send 79270000001 Hi --results x', "Unknown option '--results'"],
    ['send 79270000001 Hi --timeout soon', "'soon' is invalid. It must be a number of seconds, at most 259200."],
    ['send 79270000001 Hi --timeout 0', "'0' is invalid."],
    ['send 79270000001 Hi --timeout +79270000001', "'…' is invalid."],
    ['bulk m.csv --dryrun', "Unknown option '--dryrun'\n(Did you mean --dry-run?)"],
    ['bulk m.csv --results', "Option '--results <FILE>' argument missing"],
    ['bulk m.csv --results --dry-run', "Option '--results <FILE>' argument '--dry-run' is invalid."],
    ['bulk m.csv --results=', "Option '--results <FILE>' argument '' is invalid. Its value is missing."],
    ['bulk m.csv --json=yes', "Unknown option '--json=…'"],
    ['doctor who', "Too many arguments for 'doctor'. Expected 0 arguments but got 1."],
    ['doctor --env-file x', "Unknown option '--env-file'"],
  ])('%j ends with 2', async (args, problem) => {
    const { env } = await startGateway();
    const { code, stdout, stderr } = await runHere(args.split(' ').filter(Boolean), env);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(problem);
    expect(stderr).not.toMatch(/7927000|today/);
  });

  it('is JSON with --json', async () => {
    const { code, stdout } = await runHere(['sned', '--json']);
    expect(json(stdout)).toMatchObject({
      error: { code: 'USAGE', message: expect.stringContaining("Unknown command 'sned'") },
    });
    expect(code).toBe(2);
  });

  it('accepts flags anywhere, and a text that begins with - after --', async () => {
    const { gateway, env } = await startGateway();
    const args = ['--json', 'send', '--shortcode=BANK', '79270000001', '--', '--json'];
    await expect(runHere(args, env)).resolves.toMatchObject({ code: 0, stdout: expect.stringMatching(/^\{/) });
    await expect(runHere(args.slice(1), env)).resolves.toMatchObject({ stdout: expect.stringMatching(/^message-id-/) });
    expect(gateway.messages).toMatchObject([{ text: '--json', shortcode: 'BANK' }, { text: '--json' }]);
  });
});

it.each([
  [['79'], /The number as typed has 2 digits: 79\n$/],
  [['+7 (927) 000'], /The number as typed has 7 digits\n$/],
  [['12-34'], /The number as typed has 4 digits: 12-34\n$/],
])('prints the number %j as it was read', async ([number = ''], text) => {
  const { env } = await startGateway();
  const { code, stderr } = await runHere(['send', number, 'Hi'], env);
  expect(stderr).toMatch(text);
  expect(code).toBe(2);
});

it('names a missing file once', async () => {
  const { env } = await startGateway();
  for (const args of [['/none.csv'], ['/none.csv', '--dry-run']]) {
    const { code, stderr } = await runHere(['bulk', ...args], env);
    expect({ code, stderr }).toEqual({ code: 2, stderr: '/none.csv: ENOENT: no such file or directory\n' });
  }
});

it('prints the help of the program and of each command', async () => {
  const help = async (...args: string[]) => {
    const { code, stdout, stderr } = await runHere([...args, '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120);
    return stdout;
  };
  expect(await help()).toMatch(/^Usage: nestjs-rt-sms \[options\] \[command\]\n[^]*\n  4 +send --wait: /);
  for (const command of ['send', 'status', 'bulk', 'doctor', 'secret'])
    expect(await help(command)).toMatch(new RegExp(`^Usage: nestjs-rt-sms ${command} [^]*\n  --json `));
  expect(await help('send')).toMatch(/ \| nestjs-rt-sms send -/);
  const { stdout } = await runHere(['bulk', '--help', '--json']);
  expect(json(stdout)).toEqual({ help: expect.stringContaining('--dry-run') });
});
