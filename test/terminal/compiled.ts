import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jest } from '@jest/globals';
import { RtSmsSimulator, type RtSmsSimulatorOptions } from 'nestjs-rt-sms-testing';
import { runTerminal } from '../../libs/rt-sms/terminal/program.js';
import { compile, compiledFolder } from '../compile.js';
import { atEnd } from '../platforms.js';

/** Compiles the library and the program into the layout of an installation. */
export async function compileTerminal(): Promise<{ bin: string; remove: () => Promise<void> }> {
  const { folder, remove } = await compiledFolder('terminal', 'libs/rt-sms');
  const library = join(folder, 'node_modules/nestjs-rt-sms');
  await compile('libs/rt-sms/src', join(library, 'dist/esm'));
  await compile('libs/rt-sms/terminal', join(library, 'dist/esm/terminal'));
  await cp('libs/rt-sms/package.json', join(library, 'package.json'));
  return { bin: join(library, 'dist/esm/terminal/bin.js'), remove };
}

export const PASSWORD = 'hush-hush-hush';
export const SECRET = 'a-secret-of-sixteen';

/** Starts a gateway, and returns the variables of its account. */
export async function startGateway(
  options: RtSmsSimulatorOptions = {},
): Promise<{ gateway: RtSmsSimulator; env: Record<string, string> }> {
  const gateway = await RtSmsSimulator.start({ lifecycle: false, login: 'shop', password: PASSWORD, ...options });
  atEnd(() => gateway.close());
  return { gateway, env: environment(gateway.url) };
}

export function environment(url: string): Record<string, string> {
  return { RT_SMS_LOGIN: 'shop', RT_SMS_PASSWORD: PASSWORD, RT_SMS_URL: url, RT_SMS_SHORTCODE: 'SHOP' };
}

// In memory if possible, because the program waits for the disk before it sends.
const MEMORY = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** Creates a folder for the test; `write` creates a file in it and returns its path. */
export async function temporary(where = MEMORY): Promise<{
  folder: string;
  write: (name: string, content: string | Buffer) => Promise<string>;
}> {
  const folder = await mkdtemp(join(where, 'rt-sms-terminal-'));
  atEnd(() => rm(folder, { recursive: true, force: true }));
  return {
    folder,
    async write(name, content) {
      const path = join(folder, name);
      await writeFile(path, content);
      return path;
    },
  };
}

/** The last line of each row in a result file, by row. */
export async function outcomesIn(path: string): Promise<Map<number, string>> {
  const [header, ...lines] = (await readFile(path, 'utf8')).split('\n');
  expect(header).toBe('row,msisdn,outcome,uid,error');
  expect(lines.pop()).toBe('');
  return new Map(lines.map((line) => [Number(line.split(',')[0]), line.split(',')[2]!]));
}

export interface ProcessOptions {
  readonly before?: string;
  readonly input?: string | Buffer;
}

/** The running program with its output. */
export class TerminalProcess {
  stdout = '';
  stderr = '';
  readonly pid: number;
  readonly ended: Promise<unknown>;
  private readonly child: ChildProcess;

  /** @param before shell line that runs first, such as one that sets a limit; without `input`, standard input is empty */
  constructor(
    bin: string,
    args: readonly string[],
    variables: Record<string, string> = {},
    { before = ':', input }: ProcessOptions = {},
  ) {
    const { PATH = '' } = process.env;
    this.child = spawn('sh', ['-c', `${before}; exec "$0" "$@"`, process.execPath, bin, ...args], {
      env: { PATH, ...variables },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    // The program may end before it has read everything.
    this.child.stdin!.on('error', () => undefined).end(input);
    this.pid = this.child.pid!;
    this.child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (this.stdout += chunk));
    this.child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (this.stderr += chunk));
    this.ended = once(this.child, 'close').then(([code, signal]) => code ?? signal);
    atEnd(async () => {
      this.child.kill('SIGKILL');
      await this.ended;
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Resolves when stderr matches the pattern. */
  async said(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.stderr)) await this.more('stderr', pattern);
  }

  /** Resolves with the first line of stdout. */
  async firstLine(): Promise<string> {
    while (!this.stdout.includes('\n')) await this.more('stdout', /\n/);
    return this.stdout.split('\n')[0]!;
  }

  private async more(stream: 'stdout' | 'stderr', pattern: RegExp): Promise<void> {
    const more = await Promise.race([once(this.child[stream]!, 'data'), this.ended.then(() => undefined)]);
    if (!more) throw new Error(`Ended without saying ${String(pattern)}:\n${this.stdout}${this.stderr}`);
  }
}

export interface Ended {
  /** The exit code, or the signal that ended it. */
  readonly code: unknown;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the program to its end, and checks that its output does not contain the password. */
export async function runToEnd(
  bin: string,
  args: readonly string[],
  variables: Record<string, string> = {},
  options: ProcessOptions = {},
): Promise<Ended> {
  const running = new TerminalProcess(bin, args, variables, options);
  const code = await running.ended;
  return confidential({ code, stdout: running.stdout, stderr: running.stderr });
}

/** Runs the program in this process, which takes a tenth of the time. */
export async function runHere(args: readonly string[], variables: Record<string, string> = {}): Promise<Ended> {
  for (const name of Object.keys(process.env)) if (name.startsWith('RT_SMS_')) delete process.env[name];
  Object.assign(process.env, variables);
  let stdout = '';
  let stderr = '';
  const out = jest.spyOn(process.stdout, 'write').mockImplementation((text) => !!(stdout += String(text)));
  const err = jest.spyOn(process.stderr, 'write').mockImplementation((text) => !!(stderr += String(text)));
  try {
    const code = await runTerminal(args);
    return confidential({ code, stdout, stderr });
  } finally {
    out.mockRestore();
    err.mockRestore();
    for (const signal of ['SIGINT', 'SIGTERM']) process.removeAllListeners(signal);
  }
}

function confidential(ended: Ended): Ended {
  const basic = Buffer.from(`shop:${PASSWORD}`).toString('base64');
  expect(ended.stdout + ended.stderr).not.toMatch(new RegExp(`${PASSWORD}|${basic}|${SECRET}`));
  return ended;
}
