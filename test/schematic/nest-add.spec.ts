import { createRequire } from 'node:module';
import { parseEnv } from 'node:util';
import { rtSmsConfig } from 'nestjs-rt-sms';

type Rule = (tree: object, context: object) => void;
const { nestAdd } = createRequire(import.meta.url)('../../libs/rt-sms/schematics/nest-add.cjs') as {
  nestAdd: (options: { sourceRoot?: string; skipInstall?: boolean }) => Rule;
};

// test/compat/generated.mjs runs it in applications of the Nest CLI.

/** Runs the schematic on these files. Returns the files with its log and its tasks. */
function add(files: Record<string, string>, options: Parameters<typeof nestAdd>[0] = {}) {
  const tree = {
    exists: (path: string) => path in files,
    readText: (path: string) => files[path.replace(/^\//, '')]!,
    create: (path: string, text: string) => void (files[path] = text),
    overwrite: (path: string, text: string) => void (files[path] = text),
    getDir: (folder: string) => ({
      visit: (visitor: (path: string) => void) => {
        for (const path of Object.keys(files)) if (path.startsWith(`${folder}/`)) visitor(`/${path}`);
      },
    }),
  };
  const said: string[] = [];
  const tasks: unknown[] = [];
  const say = (message: string) => said.push(message);
  const addTask = (task: { toConfiguration(): unknown }) => tasks.push(task.toConfiguration());
  nestAdd(options)(tree, { addTask, logger: { info: say, warn: say } });
  return { files, said: said.join('\n'), tasks };
}

const MODULE = `import { Module } from '@nestjs/common';

@Module({
  imports: [],
})
export class AppModule {}
`;
const manifest = (core: string, more: object = {}) =>
  `${JSON.stringify({ name: 'app', dependencies: { '@nestjs/core': core }, ...more }, undefined, 2)}\n`;
const app = (module: string, more: Record<string, string> = {}) => ({
  'package.json': manifest('^12.0.1'),
  'src/app.module.ts': module,
  ...more,
});
const moduleOf = (text: string) => add(app(text)).files['src/app.module.ts'];

describe('nest add nestjs-rt-sms', () => {
  it('writes the modules, the variables and the peers, and asks for their installation', () => {
    const { files, tasks, said } = add(app(MODULE));
    expect(files['src/app.module.ts']).toBe(`import { Module } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { RtSmsModule, rtSmsConfig } from 'nestjs-rt-sms';

@Module({
  imports: [
    ConfigModule.forRoot(),
    EventEmitterModule.forRoot(),
    RtSmsModule.forRootAsync(rtSmsConfig.asProvider()),
  ],
})
export class AppModule {}
`);
    expect(JSON.parse(files['package.json']!)).toEqual({
      name: 'app',
      dependencies: {
        '@nestjs/axios': '^12.0.0',
        '@nestjs/common': '^12.0.0',
        '@nestjs/config': '^12.0.0',
        '@nestjs/core': '^12.0.1',
        '@nestjs/event-emitter': '^12.0.0',
        axios: '^1.16.0',
        'class-validator': '^0.15.0',
        'reflect-metadata': '^0.2.0',
        rxjs: '^7.8.0',
      },
    });
    expect(tasks).toEqual([{ name: 'node-package', options: { command: 'install' } }]);
    expect(said).toContain('.env.example');
  });

  it('does not change anything when run again', () => {
    const { files } = add(app(MODULE));
    const before = { ...files };
    expect(add(files)).toMatchObject({ files: before, tasks: [] });
  });

  it('with --skip-install, installs nothing and says so where packages were added', () => {
    const first = add(app(MODULE), { skipInstall: true });
    expect(first.tasks).toEqual([]);
    expect(first.said).toContain('install the packages that package.json names now');
    expect(add(first.files, { skipInstall: true }).said).not.toContain('install the packages');
    expect(add(app(MODULE)).said).not.toContain('install the packages');
  });

  it('takes the ranges of Nest 11 there, and leaves what is there as it is', () => {
    const more = { devDependencies: { axios: '1.9.0' } };
    const { files } = add({ ...app(MODULE), 'package.json': manifest('^11.0.1', more) });
    const { dependencies } = JSON.parse(files['package.json']!) as { dependencies: Record<string, string> };
    expect(dependencies).toMatchObject({ '@nestjs/axios': '^4.0.0', '@nestjs/event-emitter': '^3.0.0' });
    expect(dependencies).not.toHaveProperty('axios');
  });

  it('names exactly the variables that the module reads', () => {
    const text = add(app(MODULE)).files['.env.example' as never] as string;
    const named = [...text.matchAll(/^#?(RT_SMS_\w+)=/gm)].map((match) => match[1]!);
    const read: string[] = [];
    const previous = process.env;
    process.env = new Proxy({}, { get: (_, name) => void (typeof name === 'string' && read.push(name)) });
    try {
      void rtSmsConfig();
    } finally {
      process.env = previous;
    }
    expect(named.toSorted()).toEqual([...new Set(read)].toSorted());
  });

  it('quotes values that may contain # or $', () => {
    const text = add(app(MODULE)).files['.env.example' as never] as string;
    const filled = text.replaceAll(/^#?(RT_SMS_(?:PASSWORD|TLS_PASSPHRASE))=''$/gm, "$1='pa#ss$HOME'");
    const secrets = { RT_SMS_PASSWORD: 'pa#ss$HOME', RT_SMS_TLS_PASSPHRASE: 'pa#ss$HOME' };
    expect(parseEnv(filled)).toMatchObject(secrets);
    // Negative control.
    expect(parseEnv(filled.replaceAll("'", ''))).toMatchObject({ RT_SMS_PASSWORD: 'pa' });
    expect(parseEnv(text)).toMatchObject({ RT_SMS_LOGIN: '', RT_SMS_PASSWORD: '' });
  });

  it('adds its variables after existing ones', () => {
    const text = add(app(MODULE, { '.env.example': 'PORT=3000' })).files['.env.example' as never] as string;
    expect(text).toMatch(/^PORT=3000\n\n# nestjs-rt-sms.*\nRT_SMS_LOGIN=\n/);
  });

  it.each([
    [
      'a list with entries',
      '  imports: [UsersModule, OrdersModule],\n',
      /forRootAsync\(.*\),UsersModule, OrdersModule\],/,
    ],
    ['no list', '  providers: [AppService],\n', /@Module\(\{\n {2}imports: \[\n.*\],\n {2}providers: \[AppService\],/s],
    [
      'words and brackets in comments and strings',
      "  // imports: [{(\n  providers: [{ provide: 'imports: [', useValue: `]}` }],\n  imports: [/* ] */],\n",
      /\n {2}imports: \[\n {4}ConfigModule.forRoot\(\),\n.*\/\* \] \*\/\],\n/s,
    ],
    [
      'the imports of another thing',
      '  providers: [{ imports: [] }],\n  imports: [X.forRootAsync({ imports: [Y] })],\n',
      /providers: \[\{ imports: \[\] \}\],\n {2}imports: \[\n {4}ConfigModule/,
    ],
  ])('finds the place for its imports: %s', (_, body, expected) => {
    const text = moduleOf(MODULE.replace('  imports: [],\n', body))!;
    expect(text.replace(/,\s*\n?(?=UsersModule)/, ',')).toMatch(expected);
    expect(text.match(/RtSmsModule\.forRootAsync/g)).toHaveLength(1);
  });

  it('keeps quotes and line ends', () => {
    const text = moduleOf(MODULE.replaceAll("'", '"').replaceAll('\n', '\r\n'))!;
    expect(text).toContain('import { ConfigModule } from "@nestjs/config";\r\n');
    expect(text.replaceAll('\r\n', '')).not.toMatch(/\n/);
  });

  it('adds no module a second time that is in another file, however it is set there', () => {
    const core = 'EventEmitterModule.forRoot({ wildcard: true })';
    const text = add(app(MODULE, { 'src/core.module.ts': `@Module({ imports: [${core}] })` })).files[
      'src/app.module.ts'
    ];
    expect(text).not.toContain('EventEmitterModule');
    expect(text).toContain('ConfigModule.forRoot()');
  });

  it('works in a project of a monorepo', () => {
    const files = { 'package.json': manifest('^12.0.1'), 'apps/shop/src/app.module.ts': MODULE };
    expect(add(files, { sourceRoot: 'apps/shop/src' }).files['apps/shop/src/app.module.ts']).toContain(
      'RtSmsModule.forRootAsync',
    );
  });

  it.each([
    ['there is no app.module.ts', { 'package.json': manifest('^12.0.1') }],
    ['its imports are no list', app(MODULE.replace('[]', 'modules'))],
  ])('prints what to add if %s, and does the rest', (_, files) => {
    const { said, tasks } = add({ ...files });
    expect(said).toContain('No list of imports was found in src/app.module.ts.');
    expect(said).toContain(
      'RtSmsModule.forRootAsync(rtSmsConfig.asProvider()), // import { RtSmsModule, rtSmsConfig }',
    );
    expect(tasks).toHaveLength(1);
  });
});
