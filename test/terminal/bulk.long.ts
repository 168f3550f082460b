import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { jest } from '@jest/globals';
import type { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { atEnd } from '../platforms.js';
import {
  compileTerminal,
  environment,
  outcomesIn,
  runHere,
  runToEnd,
  startGateway,
  temporary,
  TerminalProcess,
} from './compiled.js';

jest.setTimeout(180_000);

let program: Awaited<ReturnType<typeof compileTerminal>>;
beforeAll(async () => {
  program = await compileTerminal();
}, 120_000);
afterAll(() => program.remove());

const bulk = (args: string[], env: Record<string, string>) => runToEnd(program.bin, ['bulk', ...args], env);
const bulkHere = (args: string[], env: Record<string, string>) => runHere(['bulk', ...args], env);
const numberOf = (n: number) => `7927${String(n).padStart(7, '0')}`;
/** Rows 1 to `count` without a header, each with a different number and text. */
const rows = (count: number) => Array.from({ length: count }, (_, n) => `${numberOf(n + 1)},Заказ ${n + 1}\n`).join('');
/** Number of accepted messages by phone number. */
function accepted(gateway: RtSmsSimulator): Map<string, number> {
  const times = new Map<string, number>();
  for (const { msisdn } of gateway.messages) times.set(msisdn, (times.get(msisdn) ?? 0) + 1);
  return times;
}
const twice = (gateway: RtSmsSimulator) => [...accepted(gateway).values()].filter((times) => times > 1).length;
const rowsThat = (outcomes: Map<number, string>, outcome: string) =>
  [...outcomes].flatMap(([row, became]) => (became === outcome ? [row] : []));

describe('a run that is ended', () => {
  const COUNT = 300;

  /** Kills a run when the gateway has received the 100th message and has not answered it. */
  async function killed() {
    const { gateway, env } = await startGateway({ latencyMs: 10 });
    const { write } = await temporary();
    const file = await write('orders.csv', rows(COUNT));
    const running = new TerminalProcess(program.bin, ['bulk', file], env);
    gateway.on('message', () => {
      if (gateway.messages.length === 100) running.kill('SIGKILL');
    });
    expect(await running.ended).toBe('SIGKILL');
    const results = file.replace('.csv', '.results.csv');
    const outcomes = await outcomesIn(results);
    return { gateway, env, file, results, inFlight: rowsThat(outcomes, 'sending') };
  }

  it('by kill -9: the next one sends what provably was not sent, and nothing twice', async () => {
    const { gateway, env, file, results, inFlight } = await killed();
    expect(inFlight.length).toBeGreaterThan(0);
    expect(inFlight.length).toBeLessThanOrEqual(10);
    // An incomplete line, as a crash may leave it.
    await writeFile(results, '300,79', { flag: 'a' });

    const second = await bulk([file, '--json'], env);
    expect(second.code).toBe(3);
    expect(JSON.parse(second.stdout)).toMatchObject({ rows: COUNT, unknown: 0, skipped: { unknown: inFlight.length } });
    expect(twice(gateway)).toBe(0);
    // Only messages with an unknown outcome are missing.
    const times = accepted(gateway);
    const missing = Array.from({ length: COUNT }, (_, n) => n + 1).filter((row) => !times.has(numberOf(row)));
    expect(inFlight).toEqual(expect.arrayContaining(missing));
    expect(missing.length).toBeLessThan(inFlight.length);
    const outcomes = await outcomesIn(results);
    expect(rowsThat(outcomes, 'sent')).toHaveLength(COUNT - inFlight.length);

    // A third run has nothing to send; only --resend-unknown sends unknown rows again.
    const before = gateway.messages.length;
    await expect(bulk([file], env)).resolves.toMatchObject({ code: 3, stdout: expect.stringMatching(/^sent 0, /) });
    expect(gateway.messages).toHaveLength(before);
    const fourth = await bulk([file, '--resend-unknown'], env);
    expect(fourth).toMatchObject({ code: 0, stdout: expect.stringMatching(`^sent ${inFlight.length}, `) });
    expect(twice(gateway)).toBe(inFlight.length - missing.length);
  });

  it('the control: without its result file the next one sends a hundred a second time', async () => {
    const { gateway, env, file, results } = await killed();
    await rm(results);
    expect((await bulk([file], env)).code).toBe(0);
    expect(twice(gateway)).toBeGreaterThanOrEqual(100);
  });

  it('by Ctrl-C: finishes messages in flight, and continues in the next run', async () => {
    const { gateway, env } = await startGateway({ latencyMs: 10 });
    const { write } = await temporary();
    const file = await write('orders.csv', rows(COUNT));
    const running = new TerminalProcess(program.bin, ['bulk', file], env);
    gateway.on('message', () => {
      if (gateway.messages.length === 100) running.kill('SIGINT');
    });
    expect(await running.ended).toBe(130);
    expect(running.stderr).toContain('Stopping: waiting for messages in flight\n');
    expect(running.stdout).toMatch(
      /^sent \d+, rejected 0, not sent \d+, unknown 0, skipped 0\nStopped\nRun the same command again/,
    );
    const outcomes = await outcomesIn(file.replace('.csv', '.results.csv'));
    expect(rowsThat(outcomes, 'sending')).toEqual([]);
    expect(rowsThat(outcomes, 'sent')).toHaveLength(gateway.messages.length);
    expect(gateway.messages.length).toBeLessThan(COUNT);

    expect((await bulk([file], env)).code).toBe(0);
    expect(gateway.messages).toHaveLength(COUNT);
    expect(twice(gateway)).toBe(0);
  });

  it('by Ctrl-C at any moment: does not leave unknown outcomes', async () => {
    const { write } = await temporary(tmpdir());
    for (let at = 1; at <= 12; at++) {
      const { gateway, env } = await startGateway();
      const file = await write(`${at}.csv`, rows(60));
      gateway.on('message', () => gateway.messages.length === at * 4 && process.emit('SIGINT'));
      expect((await runHere(['bulk', file], env)).code).toBe(130);
      const outcomes = await outcomesIn(file.replace('.csv', '.results.csv'));
      expect(rowsThat(outcomes, 'sending')).toEqual([]);
      expect(rowsThat(outcomes, 'sent')).toHaveLength(gateway.messages.length);
    }
  });
});

describe('the file', () => {
  it('may be in Windows-1251, as a spreadsheet saves it in Russia', async () => {
    const { gateway, env } = await startGateway();
    const { write } = await temporary();
    const table = 'Телефон;Текст\r\n\r\n+7 (927) 000-00-01;"Привет; мир"\r\n';
    const letters = [...table].map((letter) => letter.charCodeAt(0));
    const file = await write('m.csv', Buffer.from(letters.map((code) => (code < 0x80 ? code : code - 0x410 + 0xc0))));
    const { code, stderr } = await bulk([file], env);
    expect(stderr).toContain('m.csv (windows-1251): 1 row, 1 to send in 1 segment\n');
    expect(code).toBe(0);
    expect(gateway.messages).toMatchObject([{ msisdn: '79270000001', text: 'Привет; мир', shortcode: 'SHOP' }]);
    // The file has the row as a spreadsheet counts it, without text and full number.
    await expect(readFile(file.replace('.csv', '.results.csv'), 'utf8')).resolves.toMatch(
      /^row,msisdn,outcome,uid,error\n3,7927\*{5}01,sending,,\n3,7927\*{5}01,sent,message-id-\w{12},\n$/,
    );
  });

  it('has its invalid rows named before anything is sent; --skip-invalid sends the others', async () => {
    const { gateway, env } = await startGateway();
    const { write } = await temporary();
    const file = await write('m.csv', '79270000001,Hello\n\n123,Hello\n79270000003,Hello, Ivan\n79270000005,Bye\n');
    const refused = await bulkHere([file], env);
    expect(refused.code).toBe(2);
    expect(refused.stdout).toBe('');
    expect(refused.stderr.split('\n')).toEqual([
      'Nothing was sent: 2 of 4 rows are invalid (--skip-invalid sends the others)',
      expect.stringMatching(/^row 3: msisdn \*\*\* is not a possible phone number/),
      'row 4: has 3 cells, not 2: a text with , in it needs quotes',
      '',
    ]);
    expect(gateway.requests.post).toBe(0);

    const skipped = await bulkHere([file, '--skip-invalid', '--json'], env);
    expect(skipped.code).toBe(0);
    expect(JSON.parse(skipped.stdout)).toMatchObject({ rows: 4, due: 2, skipped: { invalid: 2 }, sent: 2 });
    expect(gateway.messages.map(({ msisdn }) => msisdn).toSorted()).toEqual(['79270000001', '79270000005']);
  });
});

describe('before a file is sent', () => {
  it.each([
    [
      'a bad row',
      '79270000001,Hello\n7.927E+10,Hello\n',
      /row 2: msisdn is in scientific notation, and the spreadsheet/,
    ],
    [
      'a number with two readings',
      '8 (495) 123-45-67,Hello\n',
      /row 1: msisdn can be read two ways, as \+7 495 … .*\+84 95… /,
    ],
    ['an open quote', '79270000001,"Hello\n', /Row 1: a quote/],
    ['no rows', 'phone,text\n', /there are no messages in this file/],
  ])('a file with %s is rejected, without creating a result file', async (_, content, problem) => {
    const { gateway, env } = await startGateway();
    const { folder, write } = await temporary();
    const file = await write('m.csv', content);
    const refused = await bulkHere([file], env);
    expect(refused).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(problem) });
    expect(gateway.requests.post).toBe(0);
    await expect(readdir(folder)).resolves.toEqual(['m.csv']);
  });

  const MIXED = [
    'sep=;',
    'phone;text',
    '="79270000001";Hello',
    '+375 29 123-45-67;Hello',
    "'89270000001;Hello",
    '+84 95 123 45 67;Hello',
    '79270000002;Hello',
    '375291234567;Bye',
    '8 927 000-00-01;Hello',
  ].join('\n');
  const NOTICES = [
    /m\.csv \(utf-8\): 7 rows, 7 to send in 7 segments\n/,
    /Outside Russia: Belarus 2, Vietnam 1\n/,
    /The same number and text \(all are sent; --skip-doubled sends only the first\): row 4 as row 2, row 8 as row 2\n/,
  ].map(({ source }) => source);

  it('more segments than --max-segments are sent only after a yes on the terminal', async () => {
    const { gateway, env } = await startGateway();
    const { write } = await temporary();
    const file = await write('long.csv', `phone,text\n+79270000001,${'a'.repeat(161)}\n+79270000002,Hello\n`);
    const refused = await bulkHere([file, '--max-segments', '2'], env);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toMatch(/Nothing was sent.*2 rows, 2 to send in 3 segments.*more than --max-segments 2/s);
    await expect(bulkHere([file, '--dry-run', '--max-segments', '2'], env)).resolves.toMatchObject({ code: 0 });
    expect(gateway.requests.post).toBe(0);
    const command = [process.execPath, program.bin, 'bulk', file, '--max-segments', '2'].map((part) => `'${part}'`);
    for (const [answer, sent] of [
      ['no', 0],
      ['yes', 2],
    ] as const) {
      const child = spawn('script', ['-qec', command.join(' '), '/dev/null'], { env: { ...process.env, ...env } });
      let output = '';
      child.stdout.on('data', (part: Buffer) => {
        if (!output.includes('(yes/no)') && `${output}${String(part)}`.includes('(yes/no)'))
          child.stdin.write(`${answer}\n`);
        output += String(part);
      });
      const [code] = (await once(child, 'exit')) as [number];
      expect([code === 0, gateway.requests.post]).toEqual([answer === 'yes', sent]);
      expect(output).toContain('These are more than --max-segments 2. Send them?');
    }
    await expect(
      bulkHere([await write('few.csv', 'phone,text\n+79270000003,Hello\n'), '--max-segments', '1'], env),
    ).resolves.toMatchObject({ code: 0 });
  });

  it('countries other than Russia and doubled rows are named', async () => {
    const { gateway, env } = await startGateway();
    const { write } = await temporary();
    const file = await write('m.csv', MIXED);
    const checked = await bulkHere([file, '--dry-run'], env);
    expect(checked).toMatchObject({ code: 0, stdout: expect.stringMatching(NOTICES.join('')) });
    expect(JSON.parse((await bulkHere([file, '--dry-run', '--json'], env)).stdout)).toMatchObject({
      due: 7,
      countries: { RU: 4, BY: 2, VN: 1 },
      doubled: {
        count: 2,
        rows: [
          { row: 4, sameAs: 2 },
          { row: 8, sameAs: 2 },
        ],
      },
    });
    expect(gateway.requests.post).toBe(0);
    // Before the first request: the gateway does not answer yet.
    gateway.adjust({ latencyMs: 60_000 });
    const running = new TerminalProcess(program.bin, ['bulk', file], env);
    await running.said(new RegExp(NOTICES.join('')));
    expect(running.stdout).toBe('');
  });

  it('doubled rows can be left out, in a second run too', async () => {
    const { gateway, env } = await startGateway();
    const { write } = await temporary();
    const file = await write('m.csv', MIXED);
    const sent = await bulkHere([file, '--skip-doubled', '--json'], env);
    expect(JSON.parse(sent.stdout)).toMatchObject({ rows: 7, due: 5, skipped: { doubled: 2 }, sent: 5 });
    expect(twice(gateway)).toBe(1);
    expect(gateway.messages.filter(({ msisdn }) => msisdn === '79270000001')).toHaveLength(1);
    const again = await bulkHere([file, '--skip-doubled'], env);
    expect(again.stdout).toMatch(/^sent 0, .*skipped 7\n/);
    expect(gateway.requests.post).toBe(5);
  });

  it('a dry run counts what an earlier run has sent, and changes nothing', async () => {
    const { env } = await startGateway();
    const { folder, write } = await temporary();
    const file = await write('m.csv', rows(2));
    expect((await bulkHere([file], env)).code).toBe(0);
    await writeFile(file, rows(3));
    const results = file.replace('.csv', '.results.csv');
    await writeFile(results, '3,79', { flag: 'a' });
    const before = await readFile(results, 'utf8');
    const checked = await bulkHere([file, '--dry-run'], env);
    expect(checked.stdout).toMatch(/: 3 rows, 1 to send in 1 segment; skipped: 2 sent\n$/);
    await expect(readFile(results, 'utf8')).resolves.toBe(before);
    expect((await readdir(folder)).toSorted()).toEqual(['m.csv', 'm.results.csv']);
  });
});

describe('the result file', () => {
  it('is not changed, and nothing is sent, if it is another file or another run uses it', async () => {
    const { gateway, env } = await startGateway();
    const { write } = await temporary();
    const file = await write('m.csv', rows(200));
    const wrong = await bulkHere([file, '--results', file], env);
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringMatching(/line 1 is not one of a result file/) });
    await expect(readFile(file, 'utf8')).resolves.toBe(rows(200));

    gateway.adjust({ latencyMs: 60_000 });
    const first = new TerminalProcess(program.bin, ['bulk', file], env);
    await gateway.waitForMessage();
    const second = await bulkHere([file], env);
    expect(second).toMatchObject({ code: 2, stderr: expect.stringContaining(`is in use by process ${first.pid};`) });
    // After the process ended, even by force, its lock is ignored.
    first.kill('SIGKILL');
    await first.ended;
    gateway.adjust({ latencyMs: 0 });
    expect((await bulkHere([file], env)).code).toBe(3);
    expect(twice(gateway)).toBe(0);
  });

  it('ends the run when it cannot be written to, and stays valid', async () => {
    const { gateway, env } = await startGateway();
    const { write } = await temporary();
    const file = await write('m.csv', rows(300));
    const results = file.replace('.csv', '.results.csv');
    const full = new TerminalProcess(program.bin, ['bulk', file, '--json'], env, { before: 'ulimit -f 8' });
    expect(await full.ended).toBe(3);
    const { unknown, ended } = JSON.parse(full.stdout) as { unknown: number; ended: string };
    expect(ended).toMatch(/cannot be written to: is the disk full\?|EFBIG/);
    expect(rowsThat(await outcomesIn(results), 'sending')).toHaveLength(unknown);

    expect((await bulkHere([file], env)).code).toBe(3);
    expect(twice(gateway)).toBe(0);
    expect(gateway.messages.length).toBeGreaterThanOrEqual(300 - unknown);
  });

  it('has what was rejected and why, and its row is tried again', async () => {
    const { gateway, env } = await startGateway();
    const { write } = await temporary();
    const file = await write('m.csv', `${rows(2)}79990000011,Hello\n`);
    expect(await bulkHere([file], env)).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^sent 2, rejected 1, /),
    });
    const results = await readFile(file.replace('.csv', '.results.csv'), 'utf8');
    expect(results).toMatch(/^3,7999\*{5}11,rejected,,invalid_field_msisdn$/m);
    expect((await bulkHere([file], env)).stdout).toMatch(/^sent 0, rejected 1, not sent 0, unknown 0, skipped 2\n/);
    expect(gateway.requests.post).toBe(4);
  });
});

describe('a gateway', () => {
  it('that is dead: gives up, and the next run sends all', async () => {
    const { write } = await temporary();
    const file = await write('m.csv', rows(200));
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    const env = environment(`http://127.0.0.1:${port}/api/v2/send_message`);
    const dead = await bulkHere([file], env);
    expect(dead.code).toBe(1);
    expect(dead.stdout).toMatch(
      /^sent 0, rejected 0, not sent 200, unknown 0, skipped 0\nGiven up: 20 in a row .*ECONNREFUSED/,
    );

    const { gateway } = await startGateway({ port });
    expect((await bulkHere([file], env)).code).toBe(0);
    expect(gateway.messages).toHaveLength(200);
    expect(twice(gateway)).toBe(0);
  });

  it('without usable answers: the run gives up before all outcomes are unknown', async () => {
    const { gateway, env } = await startGateway();
    const { write } = await temporary();
    const file = await write('m.csv', rows(200));
    gateway.nextSend({ status: 503, accepted: true }, Infinity);
    const first = await bulkHere([file, '--json'], env);
    expect(first.code).toBe(3);
    const { unknown, notSent } = JSON.parse(first.stdout) as { unknown: number; notSent: number };
    expect(unknown).toBeGreaterThanOrEqual(20);
    expect(unknown).toBeLessThanOrEqual(30);
    expect(notSent).toBe(200 - unknown);
    gateway.clearFaults();
    expect((await bulkHere([file], env)).code).toBe(3);
    expect(gateway.messages).toHaveLength(200);
    expect(twice(gateway)).toBe(0);
  });

  it('that rejects the password: the run ends at once, and continues with the right one', async () => {
    const { gateway, env } = await startGateway();
    const { write } = await temporary();
    const file = await write('m.csv', rows(200));
    const refused = await bulkHere([file], { ...env, RT_SMS_PASSWORD: 'wrong' });
    expect(refused.code).toBe(1);
    expect(refused.stdout).toMatch(/\nThe gateway rejected the request: wrong_credentials\. Fix: /);
    expect(gateway.requests.post).toBeLessThanOrEqual(10);
    expect((await bulkHere([file], env)).code).toBe(0);
    expect(gateway.messages).toHaveLength(200);
  });
});

describe('much', () => {
  const SMALL_HEAP = { NODE_OPTIONS: '--max-old-space-size=64' };

  it('20,000 rows are sent in a heap of 64 MB, of which their texts alone would take 40', async () => {
    const COUNT = 20_000;
    let count = 0;
    // The simulator checks each request, which would take most of the time.
    const server = createHttpServer((request, response) => {
      request.resume().once('end', () => response.end(`{"result":{"uid":"message-id-${++count}"},"status":"ok"}`));
    }).listen(0, '127.0.0.1');
    atEnd(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const { write } = await temporary();
    const text = 'Текст'.repeat(200);
    const lines = Array.from({ length: COUNT }, (_, n) => `${numberOf(n)},${n} ${text}\n`);
    const file = await write('m.csv', lines.join(''));
    const { code, stderr } = await bulk([file], { ...environment(`http://127.0.0.1:${port}/send`), ...SMALL_HEAP });
    expect(stderr).toMatch(/^\[#{20}\] 20000\/20000 {2}sent 20000 {2}\d+\/s$/m);
    expect(stderr.match(/^\[#.*$/gm)).toHaveLength(20);
    expect(code).toBe(0);
    expect(count).toBe(COUNT);
  });

  it('100,000 rows are checked in a heap of 64 MB', async () => {
    const { write } = await temporary();
    const file = await write('m.csv', rows(100_000));
    const { code, stdout } = await bulk([file, '--dry-run'], {
      ...environment('http://127.0.0.1:9/'),
      ...SMALL_HEAP,
    });
    expect(stdout).toBe(`${file} (utf-8): 100000 rows, 100000 to send in 100000 segments\n`);
    expect(code).toBe(0);
  });
});
