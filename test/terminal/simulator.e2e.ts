import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { promisify } from 'node:util';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { compiledFolder, compileLibrary } from '../compile.js';
import { atEnd } from '../platforms.js';
import { runToEnd, temporary, TerminalProcess } from './compiled.js';

const CERTS = 'test/faults/certs';

/** Compiles the simulator into the layout of an installation. */
async function install(folder: string): Promise<string> {
  const library = join(folder, 'node_modules/nestjs-rt-sms-testing');
  await compileLibrary('rt-sms-testing', library);
  return join(library, 'dist/esm');
}

describe('nestjs-rt-sms-testing, as a process', () => {
  let program: Awaited<ReturnType<typeof compiledFolder>>;
  let bin = '';
  beforeAll(async () => {
    program = await compiledFolder('simulator', 'libs/rt-sms-testing');
    bin = join(await install(program.folder), 'program/bin.js');
  }, 60_000);
  afterAll(() => program.remove());

  it('prints its version, also where it is run by a link', async () => {
    const { version } = JSON.parse(await readFile('libs/rt-sms-testing/package.json', 'utf8')) as { version: string };
    // In another folder, like the link of a global installation.
    const { folder } = await temporary();
    const link = join(folder, 'nestjs-rt-sms-testing');
    await symlink(bin, link);
    for (const path of [bin, link])
      expect(await runToEnd(path, ['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('takes its port from the environment, and ends on SIGTERM', async () => {
    const running = new TerminalProcess(bin, ['--json', '--password', 'hush'], { RT_SMS_SIM_PORT: '0' });
    const { url } = JSON.parse(await running.firstLine()) as { url: string };
    expect((await fetch(url, { method: 'POST' })).status).toBe(401);
    running.kill('SIGTERM');
    expect(await running.ended).toBe(0);
    expect(running.stdout + running.stderr).not.toContain('hush');
  });

  it('verifies a gateway with the command verify', async () => {
    const gateway = await RtSmsSimulator.start({ lifecycle: false, password: 'hush' });
    atEnd(() => gateway.close());
    const env = { RT_SMS_URL: gateway.url, RT_SMS_LOGIN: 'simulator', RT_SMS_PASSWORD: 'hush' };
    expect(await runToEnd(bin, ['verify'], env)).toMatchObject({ code: 0, stderr: '' });
    gateway.nextSend({ status: 500 });
    expect((await runToEnd(bin, ['verify'], env)).stdout).toMatch(/\n20 rows: 1 differs from the document\.\n$/);
    expect(await runToEnd(bin, ['verify', '--prot'], env)).toEqual({
      code: 2,
      stdout: '',
      stderr: "Unknown option '--prot'\nHelp: nestjs-rt-sms-testing verify --help\n",
    });
  });

  it('verifies a gateway over https, whose certificate it checks', async () => {
    const gateway = await RtSmsSimulator.start({ lifecycle: false });
    const [cert, key] = await Promise.all(['localhost.pem', 'server.key'].map((file) => readFile(join(CERTS, file))));
    const proxy = createServer({ cert: cert!, key: key! }, (socket) => {
      const upstream = connect(Number(new URL(gateway.url).port), '127.0.0.1');
      for (const end of [socket, upstream]) end.on('error', () => undefined);
      socket.pipe(upstream).pipe(socket);
    }).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    atEnd(async () => {
      proxy.close();
      await gateway.close();
    });
    const url = `https://localhost:${(proxy.address() as AddressInfo).port}/api/v2/send_message`;
    const env = { RT_SMS_URL: url, RT_SMS_LOGIN: 'simulator', RT_SMS_PASSWORD: 'secret' };
    const rejected = await runToEnd(bin, ['verify'], env);
    expect(rejected).toMatchObject({ code: 2, stdout: '' });
    expect(rejected.stderr).toMatch(/^localhost:\d+ cannot be reached: no connection \(\w*CERT\w*|\(UNABLE_\w+/);
    const trusted = await runToEnd(bin, ['verify'], { ...env, NODE_EXTRA_CA_CERTS: join(CERTS, 'ca.pem') });
    expect(trusted).toMatchObject({ code: 0, stderr: '' });
  });
});

it('the library works where its parser of flags cannot be loaded', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'rt-sms-no-parser-'));
  try {
    const index = join(await install(folder), 'index.js');
    const script = `const { RtSmsSimulator, runSimulator } = await import(${JSON.stringify(index)});
      await (await RtSmsSimulator.start()).close();
      console.log(await runSimulator([], {}).catch((error) => error.code));`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
    expect(stdout).toBe('ERR_MODULE_NOT_FOUND\n');
  } finally {
    await rm(folder, { recursive: true });
  }
});
