import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ResultFile } from './result-file.js';

const HEADER = 'row,msisdn,outcome,uid,error\n';
const MASKED = '7927*****01';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rt-sms-results-'));
  path = join(folder, 'r.csv');
});
afterEach(() => rm(folder, { recursive: true }));

async function using<T>(work: (results: ResultFile) => T | Promise<T>): Promise<T> {
  const results = await ResultFile.open(path);
  try {
    await results.begin();
    return await work(results);
  } finally {
    await results.close();
  }
}
const outcomes = (...rows: number[]) => using((results) => rows.map((row) => results.outcomeOf(row, MASKED)));

it('keeps between runs which rows were sent or may have been; the last line counts', async () => {
  await using((results) => {
    for (const row of [1, 2, 3, 4, 5]) results.write(row, MASKED, 'sending');
    results.write(1, MASKED, 'sent', 'message-id-VvkmLHkfhCX9');
    results.write(2, MASKED, 'rejected', '', 'odd, "reason"\n');
    results.write(3, MASKED, 'not_sent');
    results.write(4, MASKED, 'unknown', '', 'RT_SMS_TIMEOUT');
  });
  await expect(outcomes(1, 2, 3, 4, 5, 6)).resolves.toEqual([
    'sent',
    undefined,
    undefined,
    'unknown',
    'unknown',
    undefined,
  ]);
  await expect(using(({ last }) => last)).resolves.toBe(5);
  const lines = (await readFile(path, 'utf8')).split('\n');
  expect(lines.slice(5, 8)).toEqual([
    `5,${MASKED},sending,,`,
    `1,${MASKED},sent,message-id-VvkmLHkfhCX9,`,
    `2,${MASKED},rejected,,odd___reason__`,
  ]);
});

it.each([
  ['', [undefined]],
  ['row,msi', [undefined]],
  [`${HEADER}1,${MASKED},sen`, [undefined]],
  [`${HEADER}1,${MASKED},sending,,\n1,${MASKED},sent,mess`, ['unknown']],
  [`${HEADER}1,${MASKED},sent,x,\r\n`, ['sent']],
])('repairs a file after a crash: %j', async (content, found) => {
  await writeFile(path, content);
  await expect(outcomes(1)).resolves.toEqual(found);
  await using((results) => results.write(2, MASKED, 'sent'));
  await expect(outcomes(1, 2)).resolves.toEqual([...found, 'sent']);
});

it.each([
  ['79270000001,Hello\n', 'line 1 is not one of a result file'],
  ['no newline', 'it is not a result file'],
  [`${HEADER}1;${MASKED};sent;;\n`, 'line 2 is not one'],
  [`${HEADER}1,${MASKED},gone,,\n`, 'line 2 is not one'],
])('does not change a file of another kind: %j', async (content, problem) => {
  await writeFile(path, content);
  await expect(ResultFile.open(path)).rejects.toThrow(problem);
  await expect(readFile(path, 'utf8')).resolves.toBe(content);
  expect(existsSync(`${path}.lock`)).toBe(false);
});

it.each(['', 'row,msi', `${HEADER}1,${MASKED},sen`])(
  'does not change the file before it begins: %j',
  async (content) => {
    await writeFile(path, content);
    await (await ResultFile.open(path)).close();
    await expect(readFile(path, 'utf8')).resolves.toBe(content);
    await rm(path);
    await (await ResultFile.open(path)).close();
    expect(existsSync(path) || existsSync(`${path}.lock`)).toBe(false);
  },
);

it('can be read while another process holds its lock', async () => {
  await using(async (results) => {
    results.write(1, MASKED, 'sent');
    const read = await ResultFile.read(path);
    expect(read.outcomeOf(1, MASKED)).toBe('sent');
    await read.close();
    expect(existsSync(`${path}.lock`)).toBe(true);
  });
});

it('rejects a row that has another number than before', async () => {
  await writeFile(path, `${HEADER}1,${MASKED},sent,x,\n2,${MASKED},not_sent,,\n`);
  await using((results) => {
    expect(() => results.outcomeOf(1, '7926*****01')).toThrow(
      /belongs to other rows: row 1 is 7926\*{5}01, and was 7927\*{5}01\. Name another file with --results/,
    );
    // A row that was not sent may have been corrected.
    expect(results.outcomeOf(2, '7926*****01')).toBeUndefined();
  });
});

it('is locked by one process at a time; the lock of a dead process is ignored', async () => {
  await writeFile(`${path}.lock`, String(process.ppid));
  await expect(ResultFile.open(path)).rejects.toThrow(
    `in use by process ${process.ppid}; if that is another program, delete`,
  );
  await writeFile(`${path}.lock`, '');
  await expect(ResultFile.open(path)).rejects.toThrow('in use by process 0');
  await writeFile(`${path}.lock`, String(2 ** 22 + 1));
  await using(() => undefined);
  expect(existsSync(`${path}.lock`)).toBe(false);
});
