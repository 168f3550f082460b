import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { isBuiltin, SourceMap, type SourceMapping, type SourceMapPayload } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import * as library from 'nestjs-rt-sms';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { atEnd } from './platforms.js';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '..');
const LIBRARIES = ['rt-sms', 'rt-sms-bullmq', 'rt-sms-otp', 'rt-sms-testing'] as const;
const { pack } = (await import(`${root}/test/compat/pack.mjs`)) as {
  pack: (folder: string) => Promise<Record<string, string>>;
};
const env = { ...process.env, npm_config_update_notifier: 'false' };

interface Manifest {
  name: string;
  dependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
  peerDependenciesMeta?: Record<string, { optional?: boolean }>;
}
const json = async <T>(path: string) => JSON.parse(await readFile(path, 'utf8')) as T;
const codeOf = (markdown: string, language: string) =>
  [...markdown.matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 'gs'))].map((match) => match[1]!);

describe('the packages', () => {
  let folder: string;
  let tarballs: Record<string, string>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rt-sms-pack-'));
    tarballs = await pack(folder);
  }, 300_000);
  afterAll(() => rm(folder, { recursive: true, force: true }), 60_000);

  it.each(LIBRARIES)('%s holds its builds, its README and its licence, and nothing else', async (name) => {
    const { stdout } = await run('tar', ['tzf', tarballs[name]!]);
    const files = stdout.trim().split('\n');
    expect(files).toEqual(expect.arrayContaining(['package/LICENSE', 'package/README.md', 'package/package.json']));
    for (const format of ['esm', 'cjs']) {
      expect(files).toEqual(
        expect.arrayContaining([`package/dist/${format}/index.js`, `package/dist/${format}/index.d.ts`]),
      );
    }
    expect(
      files.filter(
        (file) =>
          !/^package\/(dist\/(esm|cjs)\/|(schematics|page)\/|(src\/message\/numbering\.cjs|openapi\.yaml|SKILL\.md|LICENSE|README\.md|package\.json)$)/.test(
            file,
          ),
      ),
    ).toEqual([]);
    expect(files.filter((file) => /spec|tsbuildinfo/.test(file))).toEqual([]);
  });

  it.each(LIBRARIES)('%s is readable: short lines, comments in the types, source maps', async (name) => {
    const built = join(folder, 'libs', name, 'dist');
    const files = (await readdir(built, { recursive: true })).filter((file) => /^(esm|cjs)\//.test(file));
    const long: string[] = [];
    for (const file of files.filter((one) => one.endsWith('.js'))) {
      const lines = (await readFile(join(built, file), 'utf8')).split('\n');
      expect([file, lines.length > 10]).toEqual([file, true]);
      long.push(...lines.filter((line) => line.length > 200).map((line) => `${file}: ${line}`));
      const map = new SourceMap(await json<SourceMapPayload>(join(built, `${file}.map`)));
      const at = lines.findIndex((line) => /^(async )?function |^var \w+ = class/.test(line));
      const { originalSource, originalLine } = map.findEntry(at, 0) as SourceMapping;
      if (at === -1) continue;
      const [declared] = /(?<=function |var )\w+/.exec(lines[at]!)!;
      const source = await readFile(join(built, dirname(file), originalSource), 'utf8');
      expect(source.split('\n')[originalLine]).toContain(declared);
    }
    expect(long).toEqual([]);
    expect(await readFile(join(built, 'esm/index.d.ts'), 'utf8')).toBe("export * from '../cjs/index.js';\n");
    const types = await Promise.all(
      files.filter((one) => one.endsWith('.d.ts')).map((one) => readFile(join(built, one), 'utf8')),
    );
    expect(types.join('').match(/\/\*\*/g)!.length).toBeGreaterThan(5);
  });

  it.each(LIBRARIES)(
    '%s is well formed for all ways of importing it',
    async (name) => {
      await run('npx', ['publint', '--strict', tarballs[name]!], { cwd: root, env });
      await run('npx', ['attw', '--no-color', tarballs[name]!], { cwd: root, env });
    },
    180_000,
  );

  it.each(LIBRARIES)(
    '%s has the same names by `import` as by `require`',
    async (name) => {
      const script = `import { createRequire } from 'node:module';
      const names = (module) => Object.keys(module).filter((name) => !/^(default|__esModule|module\\.exports)$/.test(name));
      const given = createRequire(import.meta.url)(process.argv[1]);
      const imported = await import(process.argv[1]);
      // Classes keep the names by which loggers, Nest and OpenAPI show them.
      const isClass = (value) => Object.getOwnPropertyDescriptor(value, 'prototype')?.writable === false;
      const renamed = [given, imported].flatMap((module) =>
        names(module).filter((name) => isClass(module[name]) && module[name].name !== name));
      console.log(JSON.stringify([names(imported), names(given), renamed].map((one) => one.toSorted())));`;
      const {
        name: package_,
        exports,
        schematics,
      } = await json<Manifest & { exports: Record<string, unknown>; schematics?: string }>(
        join(folder, 'libs', name, 'package.json'),
      );
      const how = { cwd: join(folder, 'libs', name), env };
      for (const entry of Object.keys(exports).filter((one) => one !== './package.json')) {
        const args = ['--input-type=module', '-e', script, join(package_, entry)];
        const [imported, required, renamed] = JSON.parse((await run(process.execPath, args, how)).stdout) as string[][];
        expect(renamed).toEqual([]);
        expect(required).not.toEqual([]);
        expect(imported).toEqual(required);
      }
      if (schematics)
        await run(process.execPath, ['-e', `require('${schematics.replace('collection.json', 'nest-add.cjs')}')`], how);
    },
    180_000,
  );

  it('by `import` and by `require` in one process: errors and events are of both, providers are the same', async () => {
    const script = `import { createRequire } from 'node:module';
      import { Injectable, Inject, Module } from '@nestjs/common';
      import { NestFactory } from '@nestjs/core';
      import { EventEmitterModule } from '@nestjs/event-emitter';
      import * as imported from 'nestjs-rt-sms';
      const required = createRequire(import.meta.url)('nestjs-rt-sms');
      const names = Object.keys(imported).filter((name) => /^RtSms(\\w*Error|StatusEvent)$/.test(name));
      const classesOf = (value, copy) => names.filter((name) => value instanceof copy[name]);
      const mixed = names.map((name) => {
        if (imported[name] === required[name]) throw new Error(name + ' is there once');
        return [name, classesOf(Object.create(required[name].prototype), imported), classesOf(Object.create(imported[name].prototype), required)];
      });
      const start = async (inject) => {
        const { RtSmsModule } = imported;
        class Consumer { constructor(sms) { this.account = sms.account; } }
        class AppModule {}
        inject(Consumer, undefined, 0);
        Injectable()(Consumer);
        const options = { login: 'shop', password: 'hush', callbackPath: false };
        Module({ imports: [EventEmitterModule.forRoot(), RtSmsModule.forRoot(options)], providers: [Consumer] })(AppModule);
        const app = await NestFactory.createApplicationContext(AppModule, { logger: false, abortOnError: false });
        const { account } = app.get(Consumer);
        await app.close();
        return account;
      };
      const byToken = await start(required.InjectRtSms());
      const byClass = await start(Inject(required.RtSmsService)).catch((error) => error.message);
      console.log(JSON.stringify({ mixed, byToken, byClass }));`;
    const how = { cwd: join(folder, 'libs/rt-sms'), env };
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], how);
    const { mixed, byToken, byClass } = JSON.parse(stdout) as {
      mixed: [string, string[], string[]][];
      byToken: string;
      byClass: string;
    };
    expect(mixed.length).toBeGreaterThan(10);
    for (const [name, ...classes] of mixed) {
      const rejections = ['RtSmsAuthError', 'RtSmsNotFoundError'];
      const bases =
        name === 'RtSmsStatusEvent' ? [] : ['RtSmsError', ...(rejections.includes(name) ? ['RtSmsRejectedError'] : [])];
      const expected = [...new Set([...bases, name])].toSorted();
      expect(classes.map((list) => list.toSorted())).toEqual([expected, expected]);
    }
    expect(byToken).toBe('default');
    // A class is a token itself: the application does not start, and Nest names the missing provider.
    expect(byClass).toMatch(/can't resolve dependencies of the Consumer.*RtSmsService/);
  });

  it('nestjs-rt-sms-testing finds the files of its inbox from both builds', async () => {
    const script = `import { createRequire } from 'node:module';
    const name = 'nestjs-rt-sms-testing';
    for (const { RtSmsSimulator } of [createRequire(import.meta.url)(name), await import(name)]) {
      const gateway = await RtSmsSimulator.start({ inbox: true });
      const page = await (await fetch(gateway.inboxUrl)).text();
      for (const [, path] of page.matchAll(/(?:src|href)="(\\/[^"]+)"/g)) {
        console.log((await fetch(new URL(path, gateway.inboxUrl))).status);
      }
      await gateway.close();
    }`;
    const how = { cwd: join(folder, 'libs/rt-sms-testing'), env };
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], how);
    const statuses = stdout.trim().split('\n');
    expect(statuses.length).toBeGreaterThan(10);
    expect(statuses.filter((status) => status !== '200')).toEqual([]);
  }, 60_000);

  it('nestjs-rt-sms-testing has openapi.yaml, and verifies a gateway, from the packed file', async () => {
    const unpacked = join(folder, 'unpacked');
    await mkdir(unpacked);
    await run('tar', ['xzf', tarballs['rt-sms-testing']!, '-C', unpacked]);
    const source = await readFile(join(root, 'libs/rt-sms-testing/openapi.yaml'), 'utf8');
    expect(await readFile(join(unpacked, 'package/openapi.yaml'), 'utf8')).toBe(source);

    const gateway = await RtSmsSimulator.start({ lifecycle: false });
    atEnd(() => gateway.close());
    const { login, password, url } = gateway.options;
    const args = [
      join(unpacked, 'package/dist/esm/program/bin.js'),
      'verify',
      '--url',
      url,
      '--login',
      login,
      '--json',
    ];
    const verify = async () => {
      const how = { cwd: unpacked, env: { ...env, RT_SMS_PASSWORD: password } };
      const { stdout, code } = await run(process.execPath, args, how).then(
        (done) => ({ ...done, code: 0 }),
        (failed: { stdout: string; code: number }) => failed,
      );
      return { code, differ: (JSON.parse(stdout) as { differ: number }).differ };
    };
    expect(await verify()).toEqual({ code: 0, differ: 0 });
    gateway.nextStatus({ status: 404 });
    expect(await verify()).toEqual({ code: 1, differ: 1 });
  }, 60_000);

  it.each(LIBRARIES)('%s declares all packages that it imports', async (name) => {
    const built = join(folder, 'libs', name);
    const manifest = await json<Manifest>(join(root, 'libs', name, 'package.json'));
    const declared = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies });
    const imported = new Set<string>();
    for (const file of (await readdir(built, { recursive: true })).filter((one) =>
      /^(dist\/(esm|cjs)\/.*\.(js|d\.ts)|src\/.*\.cjs)$/.test(one),
    )) {
      const text = await readFile(join(built, file), 'utf8');
      const imports = /\b(?:from|import|import\(|require\()\s*["']((?:@[\w-]+\/)?[a-z][\w.-]*)["'/]/g;
      for (const [, specifier] of text.matchAll(imports)) {
        if (specifier !== manifest.name && !isBuiltin(specifier!)) imported.add(specifier!);
      }
    }
    expect([...imported].filter((specifier) => !declared.includes(specifier))).toEqual([]);
    // An optional peer may be declared only for its range: BullMQ loads its client itself.
    const needed = declared.filter((one) => !manifest.peerDependenciesMeta?.[one]?.optional);
    expect(needed.filter((dependency) => !imported.has(dependency))).toEqual([]);
  });

  it('nestjs-rt-sms is small: 760 kB unpacked, five packages beyond what Nest and its peers bring', async () => {
    const { stdout } = await run('tar', ['tzvf', tarballs['rt-sms']!]);
    const sizes = stdout.split('\n').map((line) => Number(line.split(/\s+/)[2] ?? 0));
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(760_000);

    const { dependencies, peerDependencies } = await json<Manifest>(join(root, 'libs/rt-sms/package.json'));
    const brought = async (names: string[], found = new Set<string>()): Promise<Set<string>> => {
      for (const name of names.filter((one) => !found.has(one))) {
        found.add(name);
        const manifest = await json<Manifest>(join(root, 'node_modules', name, 'package.json'));
        await brought(Object.keys(manifest.dependencies ?? {}), found);
      }
      return found;
    };
    const theirs = await brought(Object.keys(peerDependencies ?? {}));
    const ours = await brought(Object.keys(dependencies ?? {}));
    expect([...ours].filter((name) => !theirs.has(name)).length).toBeLessThanOrEqual(5);
  });

  it('nestjs-rt-sms exports these names; a new one is a decision', () => {
    expect(Object.keys(library).toSorted()).toMatchSnapshot();
  });

  it("works in a fresh application outside of this repository, with the README's lines as they are printed", async () => {
    const app = join(folder, 'app');
    await mkdir(join(app, 'src/orders'), { recursive: true });
    const readme = await readFile(join(root, 'README.md'), 'utf8');
    const files = codeOf(readme, 'ts').map((code) => [/^\/\/ (\S+\.ts)\n/.exec(code)?.[1], code] as const);
    // test/compat runs its test in generated applications.
    for (const [file, code] of files) if (file && !file.includes('.spec.')) await writeFile(join(app, file), code);
    // Adds the lines of `nest generate service`.
    const rootModule = await readFile(join(app, 'src/app.module.ts'), 'utf8');
    await writeFile(
      join(app, 'src/app.module.ts'),
      rootModule
        .replace('\n\n', `\nimport { OrdersService } from './orders/orders.service.js';\n\n`)
        .replace('@Module({', '@Module({ providers: [OrdersService],'),
    );
    const { devDependencies: versions } = await json<Record<'devDependencies', Record<string, string>>>(
      join(root, 'package.json'),
    );
    const installed = codeOf(readme, 'sh')
      .find((code) => code.startsWith('npm install nestjs-rt-sms'))!
      .trim()
      .split(' ')
      .slice(3)
      .map((name) => name.replace(/(?<=.)@\d+$/, ''));
    const others = [
      '@nestjs/common',
      '@nestjs/core',
      '@nestjs/platform-express',
      'reflect-metadata',
      'rxjs',
      'typescript',
      '@types/node',
    ];
    const dependencies = Object.fromEntries([...installed, ...others].map((name) => [name, versions[name]!]));
    const manifest = {
      private: true,
      type: 'module',
      dependencies: { ...dependencies, 'nestjs-rt-sms': `file:${tarballs['rt-sms']}` },
    };
    await writeFile(join(app, 'package.json'), JSON.stringify(manifest));
    const compilerOptions = {
      target: 'es2023',
      module: 'nodenext',
      strict: true,
      experimentalDecorators: true,
      emitDecoratorMetadata: true,
      types: ['node'],
      rootDir: 'src',
      outDir: 'dist',
    };
    await writeFile(join(app, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['src'] }));
    await writeFile(
      join(app, 'src/main.ts'),
      `import 'reflect-metadata';
       import { NestFactory } from '@nestjs/core';
       import { AppModule } from './app.module.js';
       import { OrdersService } from './orders/orders.service.js';
       const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
       app.enableShutdownHooks();
       await app.listen(0, '127.0.0.1');
       console.log('uid', await app.get(OrdersService).shipped('8 927 000-00-01', '42'));`,
    );
    await run('npm', ['install', '--no-package-lock', '--prefer-offline', '--silent'], { cwd: app, env });
    // skipLibCheck is off: the library's types must compile without other types.
    await run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.'], { cwd: app });

    const gateway = await RtSmsSimulator.start({ lifecycle: false });
    atEnd(() => gateway.close());
    const { login, password, url } = gateway.options;
    const child = execFile(process.execPath, ['dist/main.js'], {
      cwd: app,
      env: { ...env, RT_SMS_LOGIN: login, RT_SMS_PASSWORD: password, RT_SMS_URL: url, RT_SMS_SHORTCODE: 'SHOP' },
    });
    atEnd(() => child.kill('SIGKILL'));
    let output = '';
    const printed = (pattern: RegExp) =>
      new Promise<void>((done, fail) => {
        const look = (chunk: string) => {
          output += chunk;
          if (pattern.test(output)) done();
        };
        child.stdout!.on('data', look);
        child.stderr!.on('data', look);
        child.once('exit', () => fail(new Error(`it ended early: ${output}`)));
      });
    const delivered = printed(/Order 42: message message-id-\w{12} was delivered/);
    const { uid } = await gateway.waitForMessage();
    // Without a callback address the module polls for the status.
    await gateway.report(uid, 'delivered');
    await delivered;
    child.removeAllListeners('exit');
    const ended = new Promise((done) => child.once('exit', (...how) => done(how)));
    child.kill('SIGINT');
    expect(await ended).toEqual([null, 'SIGINT']);
  }, 300_000);
});

describe('README.ru.md', () => {
  it('has the same code, and as many headings and rows, as README.md', async () => {
    const [english, russian] = await Promise.all(
      ['README.md', 'README.ru.md'].map((file) => readFile(join(root, file), 'utf8')),
    );
    const shape = (text: string) => ({
      headings: text.match(/^#+ /gm),
      rows: text.match(/^\|/gm)?.length,
      items: text.match(/^- /gm)?.length,
      code: codeOf(text, '(?:ts|sh)').length,
      ts: codeOf(text, 'ts'),
      sh: codeOf(text, 'sh'),
      options: text.match(/^\| `[^|]*/gm)?.length,
    });
    expect(shape(russian!)).toEqual(shape(english!));
  });
});
