// What docs/getting-started.md shows, with the tarballs in place of the registry: an application as the Nest CLI generates
// it, and `nest add nestjs-rt-sms` in it, compiles, starts with the values of its .env and gets a message delivered.
import { execFile } from 'node:child_process';
import { deepStrictEqual, match, strictEqual } from 'node:assert';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const env = { ...process.env, npm_config_update_notifier: 'false', NODE_OPTIONS: '', NO_COLOR: '1' };

const page = await readFile(join(import.meta.dirname, '../../docs/getting-started.md'), 'utf8');
const lines = /```ts\n([^]*?)```/.exec(page)[1];
const variables = [...page.matchAll(/^ *(RT_SMS_\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]);

export async function generated(version, folder, tarballs) {
  const home = join(folder, 'app');
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const shell = process.platform === 'win32';
  const cli = ['--yes', '-p', `@nestjs/cli@${version}`, 'nest', 'new', 'app'];
  await run('npx', [...cli, '--skip-git', '--skip-install', '-p', 'npm'], { cwd: folder, env, shell });
  // What `nest add` does first, with the tarballs in place of the registry.
  await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--silent', ...tarballs], {
    cwd: home,
    env,
    shell,
  });
  const nest = (...args) =>
    run(process.execPath, ['node_modules/@nestjs/cli/bin/nest.js', ...args], { cwd: home, env });
  const read = (file) => readFile(join(home, file), 'utf8');
  await nest('add', 'nestjs-rt-sms', '--skip-install');
  const once = await read('src/app.module.ts');
  match(once, /RtSmsModule\.forRootAsync/);
  await nest('add', 'nestjs-rt-sms', '--skip-install');
  strictEqual(await read('src/app.module.ts'), once);

  const { RtSmsSimulator } = createRequire(join(home, 'package.json'))('nestjs-rt-sms-testing');
  const gateway = await RtSmsSimulator.start();
  try {
    const { login, password, url } = gateway.options;
    deepStrictEqual(
      variables.slice(0, 2).map(([, value]) => value),
      [login, password],
    );
    let filled = await read('.env.example');
    for (const [name, value] of variables)
      filled = filled.replace(new RegExp(`^#?${name}=.*`, 'm'), `${name}=${name === 'RT_SMS_URL' ? url : value}`);
    await writeFile(join(home, '.env'), filled);
    const main = (await read('src/main.ts')).replace(/(.*app\.listen.*\n)/, `$1${lines}  await app.close();\n`);
    await writeFile(join(home, 'src/main.ts'), `import { RtSmsService } from 'nestjs-rt-sms';\n${main}`);
    await nest('build');
    const started = { cwd: home, env: { ...env, PORT: '0' }, timeout: 30_000 };
    const { stdout } = await run(process.execPath, ['dist/main.js'], started);
    match(stdout, /^delivered$/m);
    strictEqual(gateway.messages[0].shortcode, 'SHOP');
  } finally {
    await gateway.close();
  }
}
