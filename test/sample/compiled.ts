import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { compile, compiledFolder, compileLibrary } from '../compile.js';
import { atEnd } from '../platforms.js';

/** Compiles the sample and its libraries, which resolve each other by package.json as after installation. */
export async function compileSample(): Promise<{ main: string; remove: () => Promise<void> }> {
  const { folder, remove } = await compiledFolder('sample', 'apps/sample');
  await compile('apps/sample/src', join(folder, 'app'));
  await writeFile(join(folder, 'app/package.json'), JSON.stringify({ type: 'module' }));
  for (const name of ['rt-sms', 'rt-sms-testing', 'rt-sms-bullmq', 'rt-sms-otp'])
    await compileLibrary(name, join(folder, 'node_modules', `nestjs-${name}`));
  return { main: join(folder, 'app/main.js'), remove };
}

/** A running sample with its output. */
export class SampleProcess {
  stdout = '';
  stderr = '';
  private readonly child: ChildProcess;
  private readonly ended: Promise<unknown[]>;

  constructor(main: string, variables: Record<string, string> = {}) {
    const { PATH = '' } = process.env;
    this.child = spawn(process.execPath, [main], {
      // A folder without .env.
      cwd: dirname(main),
      env: { PATH, NO_COLOR: '1', PORT: '0', GATEWAY_PORT: '0', ...variables },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (this.stdout += chunk));
    this.child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (this.stderr += chunk));
    this.ended = once(this.child, 'close');
    atEnd(() => this.child.kill('SIGKILL'));
  }

  /** Resolves with the match when it was printed. */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.stdout);
      if (match) return match;
      const more = await Promise.race([once(this.child.stdout!, 'data'), this.ended.then(() => undefined)]);
      if (!more) throw new Error(`Ended without printing ${String(pattern)}:\n${this.stdout}${this.stderr}`);
    }
  }

  /** Resolves with its address. */
  async url(): Promise<string> {
    const [, url = ''] = await this.printed(/Messages +(http:\S+)\/messages\n/);
    return url;
  }

  /** Resolves with the exit code, or with the signal that ended it. */
  async end(signal?: NodeJS.Signals): Promise<unknown> {
    if (signal) this.child.kill(signal);
    const [code, by] = await this.ended;
    return code ?? by;
  }
}
