// Tests the README and docs/getting-started.md as printed, with tarballs in place of the registry: in an
// application as the Nest CLI generates it, `nest add nestjs-rt-sms` or the lines for doing it by hand, the service and its
// test. It compiles, starts with the values of its .env, gets a message delivered, and all of its tests pass.
import { execFile, spawn } from 'node:child_process';
import { deepStrictEqual, match, ok, strictEqual } from 'node:assert';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const env = { ...process.env, npm_config_update_notifier: 'false', NODE_OPTIONS: '', NO_COLOR: '1' };
const shell = process.platform === 'win32';

const pageOf = (name) => readFile(join(import.meta.dirname, '../..', name), 'utf8');
const [readme, start, testing, otp] = await Promise.all(
  ['README.md', 'docs/getting-started.md', 'docs/testing.md', 'libs/rt-sms-otp/README.md'].map(pageOf),
);
/** The files that a page prints, by the path in their first line. */
const filesOf = (page) =>
  Object.fromEntries([...page.matchAll(/^```ts\n\/\/ (\S+\.ts)\n([^]*?)^```/gm)].map(([, path, code]) => [path, code]));
const { 'src/app.module.ts': rootModule, ...service } = filesOf(readme);
const printed = { ...service, ...filesOf(testing) };
const lines = /```ts\n([^]*?)```/.exec(start)[1];
const variables = [...start.matchAll(/^ *(RT_SMS_\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]);
/** Packages to install by hand, for a version of Nest. */
const byHand = (version) =>
  new RegExp(`On Nest ${version}:\\n\\n\`\`\`sh\\nnpm install nestjs-rt-sms (.*)\\n`).exec(readme)[1].split(' ');

const npm = (home, ...args) =>
  run('npm', ['--prefer-offline', '--no-audit', '--no-fund', ...args], { cwd: home, env, shell });
const nest = (home, ...args) =>
  run(process.execPath, ['node_modules/@nestjs/cli/bin/nest.js', ...args], { cwd: home, env });

/** Runs `nest add` twice: the second run must not change anything. */
async function withNestAdd(home, version, { core, testing }) {
  const read = (file) => readFile(join(home, file), 'utf8');
  // The first step of `nest add`, with the tarballs in place of the registry.
  await npm(home, 'install', core, testing);
  const installed = await read('node_modules/.package-lock.json');
  await nest(home, 'add', 'nestjs-rt-sms', '--skip-install');
  const once = await Promise.all(['src/app.module.ts', 'package.json', '.env.example'].map(read));
  strictEqual(await read('node_modules/.package-lock.json'), installed, '--skip-install installs nothing');
  await nest(home, 'add', 'nestjs-rt-sms', '--skip-install');
  deepStrictEqual(await Promise.all(['src/app.module.ts', 'package.json', '.env.example'].map(read)), once);
  await npm(home, 'install');
  // The schematic writes the same lines as the instructions by hand.
  for (const line of rootModule.matchAll(/^(?:import .*|    .*,)$/gm)) ok(once[0].includes(line[0]), line[0]);
}

/** Adds the lines from the instructions by hand to the root module. */
async function withoutNestAdd(home, version, { core, testing }) {
  await npm(home, 'install', core, ...byHand(version), testing);
  const file = join(home, 'src/app.module.ts');
  const imports = rootModule.match(/^import .*$/gm).filter((line) => !line.includes('@nestjs/common'));
  const entries = rootModule.match(/^    .*,$/gm);
  const written = (await readFile(file, 'utf8'))
    .replace('\n\n', `\n${imports.join('\n')}\n\n`)
    .replace('imports: []', `imports: [\n${entries.join('\n')}\n  ]`);
  await writeFile(file, written);
}

/** Adds the service and the tests of the pages to the application. */
async function tryOut(home, version, gateway) {
  const read = (file) => readFile(join(home, file), 'utf8');
  await nest(home, 'generate', 'service', 'orders');
  for (const [path, code] of Object.entries(printed)) {
    ok(path.startsWith('test/') || (await read(path)), `${path} is one that the Nest CLI has written`);
    await mkdir(dirname(join(home, path)), { recursive: true });
    await writeFile(join(home, path), code);
  }
  // Runs without environment variables: the tests of the pages set what they need, the application's test does not need them.
  await npm(home, 'test');
  await npm(home, 'run', 'test:e2e', '--', 'orders');

  const { login, password, url } = gateway.options;
  deepStrictEqual(
    variables.slice(0, 2).map(([, value]) => value),
    [login, password],
  );
  let filled = await read('.env.example').catch(() => variables.map(([name]) => `${name}=`).join('\n'));
  for (const [name, value] of variables)
    filled = filled.replace(new RegExp(`^#?${name}=.*`, 'm'), `${name}=${name === 'RT_SMS_URL' ? url : value}`);
  await writeFile(join(home, '.env'), filled);
  await npm(home, 'run', 'test:e2e');

  // Checks types, also of the tests, where ES modules name their files in full, as the comments of the pages explain.
  for (const path of Object.keys(printed)) {
    const full = (await read(path)).replace(/from '\S+'; \/\/ on Nest 12: ('\S+')/g, (line, name) =>
      version === 12 ? `from ${name};` : line,
    );
    await writeFile(join(home, path), full);
  }
  await run(process.execPath, ['node_modules/typescript/bin/tsc', '--noEmit', '-p', 'tsconfig.json'], {
    cwd: home,
    env,
  });

  const main = (await read('src/main.ts')).replace(/(.*app\.listen.*\n)/, `$1${lines}  await app.close();\n`);
  await writeFile(join(home, 'src/main.ts'), `import { RtSmsService } from 'nestjs-rt-sms';\n${main}`);
  await nest(home, 'build');
  const started = { cwd: home, env: { ...env, PORT: '0' }, timeout: 30_000 };
  const { stdout } = await run(process.execPath, ['dist/main.js'], started);
  match(stdout, /^delivered$/m);
  strictEqual(gateway.messages[0].shortcode, 'SHOP');
}

/** Adds the sign-in of the README of the one-time codes, and signs in with the code that the gateway gets. */
async function signIn(home, version, gateway, tarball) {
  await npm(home, 'install', tarball);
  const named = (name) => (version === 12 ? `${name}.js` : name);
  for (const [path, code] of Object.entries(filesOf(otp))) {
    await mkdir(dirname(join(home, path)), { recursive: true });
    const full = code.replace(/from '(\S+)'; \/\/ on Nest 12: .*/g, (_, name) => `from '${named(name)}';`);
    await writeFile(join(home, path), full);
  }
  const root = await readFile(join(home, 'src/app.module.ts'), 'utf8');
  const account = 'RtSmsModule.forRootAsync(rtSmsConfig.asProvider())';
  const global = 'RtSmsModule.forRootAsync({ ...rtSmsConfig.asProvider(), isGlobal: true })';
  ok(root.includes(account) && otp.includes(global), 'the README has the line that makes the account global');
  const imported = `import { SignInModule } from '${named('./sign-in/sign-in.module')}';\n`;
  await writeFile(join(home, 'src/app.module.ts'), imported + root.replace(account, `${global}, SignInModule`));
  await writeFile(
    join(home, 'src/main.ts'),
    `import { NestFactory } from '@nestjs/core';
     import { AppModule } from '${named('./app.module')}';
     async function main() {
       const app = await NestFactory.create(AppModule);
       await app.listen(0, '127.0.0.1');
       console.log('listening', await app.getUrl());
     }
     void main();`,
  );
  await nest(home, 'build');
  const child = spawn(process.execPath, ['dist/main.js'], {
    cwd: home,
    env: { ...env, OTP_SECRET: 'a secret of the test, 32 bytes or more' },
  });
  try {
    let output = '';
    const url = await new Promise((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (chunk) => {
          output += chunk;
          const [, address] = /listening (\S+)\n/.exec(output) ?? [];
          if (address) resolve(address);
        });
      child.once('exit', () => reject(new Error(`it ended early: ${output}`)));
    });
    const post = async (path, body) => {
      const headers = { 'content-type': 'application/json' };
      return (await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) })).json();
    };
    const { challengeId, to } = await post('/sign-in', { phone: '8 927 000-00-02' });
    strictEqual(to, '7927*****02');
    const [code] = /\d{6}/.exec(gateway.messages.find(({ msisdn }) => msisdn === '79270000002').text);
    const wrong = await post('/sign-in/verify', { challengeId, code: 'x' });
    deepStrictEqual(wrong, { ok: false, reason: 'wrong', attemptsLeft: 4 });
    deepStrictEqual(await post('/sign-in/verify', { challengeId, code }), { ok: true, msisdn: '79270000002' });
  } finally {
    child.removeAllListeners('exit');
    child.kill();
  }
}

export async function generated(version, folder, { core, testing, codes }) {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const cli = ['--yes', '-p', `@nestjs/cli@${version}`, 'nest', 'new', 'app'];
  await run('npx', [...cli, '--skip-git', '--skip-install', '-p', 'npm'], { cwd: folder, env, shell });
  await cp(join(folder, 'app'), join(folder, 'by-hand'), { recursive: true });
  for (const [name, add] of Object.entries({ app: withNestAdd, 'by-hand': withoutNestAdd })) {
    const home = join(folder, name);
    await add(home, version, { core, testing });
    const { RtSmsSimulator } = createRequire(join(home, 'package.json'))('nestjs-rt-sms-testing');
    const gateway = await RtSmsSimulator.start();
    try {
      await tryOut(home, version, gateway);
      await signIn(home, version, gateway, codes);
    } finally {
      await gateway.close();
    }
  }
}
