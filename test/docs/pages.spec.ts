// Checks all examples of the pages: `ts` blocks compile, `json` parses, npm commands and links have a target.
//
// A `ts` block is compiled alone, with three exceptions. Public names, and those of FROM and GIVEN, do not need an import. A
// block whose first line is `// src/name.ts` can be imported by the others of its page, and those of the README by every page.
// Other names that it needs are declared in a comment before it, `<!-- ts: declare const order: Order; -->`; a `…` in that
// stands for the block, for example as the body of a class.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import ts from 'typescript';
import { parseAllDocuments } from 'yaml';

const root = resolve(import.meta.dirname, '../..');
const PAGES = ts.sys
  .readDirectory(
    root,
    ['.md'],
    ['**/node_modules'],
    'README*.md AGENTS.md CONTRIBUTING.md docs/*.md docs/recipes/*.md docs/ru/*.md libs/*/README.md libs/*/SKILL.md'.split(
      ' ',
    ),
  )
  .map((path) => relative(root, path))
  .toSorted();
const FROM = {
  '@nestjs/common':
    'Controller Get Inject Injectable Ip Logger Module NotFoundException Param Post Query INestApplication',
  '@nestjs/core': 'NestFactory',
  '@nestjs/testing': 'Test',
  '@nestjs/axios': 'HttpService HttpModule',
  '@nestjs/config': 'ConfigModule',
  '@nestjs/event-emitter': 'EventEmitterModule OnEvent',
  axios: 'axios',
};
/** Names of examples. */
const GIVEN = {
  sms: "declare const sms: import('nestjs-rt-sms').RtSmsService;",
  otp: "declare const otp: import('nestjs-rt-sms-otp').RtSmsOtpService;",
  gateway: "declare const gateway: import('nestjs-rt-sms-testing').RtSmsSimulator;",
  OrdersService: 'declare class OrdersService { shipped(msisdn: string, order: string): Promise<string>; }',
  AppModule: 'declare class AppModule {}',
  ...Object.fromEntries(
    ['msisdn', 'text', 'login', 'password', 'uid'].map((name) => [name, `declare const ${name}: string;`]),
  ),
};
const LIBRARIES = ['', '/testing', '/terminus', '/message-file', '-bullmq', '-otp', '-otp/testing', '-testing'].map(
  (end) => `nestjs-rt-sms${end}`,
);

interface Block {
  page: string;
  line: number;
  language: string;
  declared: string;
  code: string;
}
const blocksOf = (page: string): Block[] => {
  const text = readFileSync(join(root, page), 'utf8');
  return [...text.matchAll(/(?:<!-- ts: ((?:(?!-->)[^])*) -->\n+)?^ *```(\w*)\n([^]*?)^ *```$/gm)].map((match) => ({
    page,
    line: text.slice(0, match.index + match[0].indexOf('```')).split('\n').length,
    language: match[2]!,
    declared: match[1] ?? '',
    code: match[3]!,
  }));
};
const blocks = PAGES.flatMap(blocksOf);
const inLanguage = (...languages: string[]) => blocks.filter(({ language }) => languages.includes(language));

describe('the pages', () => {
  it('have blocks in these languages only, for the others are not tried', () => {
    const others = blocks.filter(
      ({ language }) => !['ts', 'js', 'sh', 'json', 'php', 'sql', 'html', 'nginx', 'yaml', ''].includes(language),
    );
    expect(others.map(({ page, line, language }) => `${page}:${line} ${language}`)).toEqual([]);
  });

  it('have TypeScript that compiles', () => {
    const config = ts.readConfigFile(join(root, 'tsconfig.json'), (path) => ts.sys.readFile(path)).config as object;
    // As strict as a generated application. Nest 11 imports the application's own files without an extension.
    const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root, {
      exactOptionalPropertyTypes: false,
      noUncheckedIndexedAccess: false,
    });
    Object.assign(options, { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler });
    const placed = (page: string, name: string) => join(root, 'test/docs', page.replaceAll(/[/.]/g, '-'), name);
    const nameOf = ({ code }: Block) => /^\/\/ (\S+\.ts)\n/.exec(code)?.[1];
    const application = inLanguage('ts').filter((block) => block.page === 'README.md' && nameOf(block));
    const files = new Map(
      [...PAGES.flatMap((page) => application.map((block) => ({ ...block, page }))), ...inLanguage('ts')].map(
        (block, at) => {
          const { page, code, declared } = block;
          const text = declared.includes('…') ? declared.replace('…', () => `\n${code}`) : `${declared}\n${code}`;
          return [placed(page, nameOf(block) ?? `block-${at}.ts`), { block, text: `export {}; ${text}` }];
        },
      ),
    );
    const host = ts.createCompilerHost(options);
    const { fileExists, getSourceFile, directoryExists } = host;
    host.fileExists = (file) => files.has(file) || fileExists(file);
    host.directoryExists = (folder) => folder.startsWith(join(root, 'test/docs/')) || directoryExists!(folder);
    host.getSourceFile = (file, version) => {
      const text = files.get(file)?.text;
      return text === undefined ? getSourceFile(file, version) : ts.createSourceFile(file, text, version);
    };
    const indexes = LIBRARIES.map(
      (name) => ts.resolveModuleName(name, join(root, 'page.ts'), options, ts.sys).resolvedModule!.resolvedFileName,
    );
    const compile = (previous?: ts.Program) => {
      const program = ts.createProgram([...files.keys(), ...indexes], { ...options, noEmit: true }, host, previous);
      const problems = [...files.keys()].flatMap((path) => {
        const source = program.getSourceFile(path)!;
        return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
      });
      return { program, problems };
    };

    const first = compile();
    const checker = first.program.getTypeChecker();
    const known = new Map<string, string>();
    for (const [at, library] of LIBRARIES.entries()) {
      const file = first.program.getSourceFile(indexes[at]!)!;
      for (const { name } of checker.getExportsOfModule(checker.getSymbolAtLocation(file)!)) known.set(name, library);
    }
    for (const [from, names] of Object.entries(FROM)) for (const name of names.split(' ')) known.set(name, from);
    const meant = (name: string) => {
      const from = known.get(name);
      if (from === undefined) return GIVEN[name as keyof typeof GIVEN];
      return `import { ${name === from ? `default as ${name}` : name} } from '${from}';`;
    };
    for (const { messageText, file } of first.problems) {
      const words = ts.flattenDiagnosticMessageText(messageText, ' ');
      const added = meant(/(?:find name|shorthand property) '(\w+)'/.exec(words)?.[1] ?? '');
      const entry = files.get(file!.fileName)!;
      if (added && !entry.text.includes(added)) entry.text = `${added} ${entry.text}`;
    }

    const { problems } = compile(first.program);
    expect(files.size).toBeGreaterThan(10);
    expect(
      problems.map(({ file, start = 0, messageText }) => {
        const { block, text } = files.get(file!.fileName)!;
        const above = text.slice(0, text.indexOf(block.code)).split('\n').length - 1;
        const line = block.line + 1 + file!.getLineAndCharacterOfPosition(start).line - above;
        return `${block.page}:${line} ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
      }),
    ).toEqual([]);
  }, 240_000);

  it('name, for each Nest, the versions that the package asks for', () => {
    const { peerDependencies } = JSON.parse(readFileSync(join(root, 'libs/rt-sms/package.json'), 'utf8')) as {
      peerDependencies: Record<string, string>;
    };
    for (const page of ['README.md', 'README.ru.md']) {
      const lines = [...readFileSync(join(root, page), 'utf8').matchAll(/Nest (11|12):\n\n```sh\nnpm install (.*)\n/g)];
      expect(lines.map(([, nest]) => nest)).toEqual(['12', '11']);
      for (const [, nest, words] of lines) {
        const versioned = words!.split(' ').filter((word) => /.@/.test(word));
        expect(versioned).toEqual(
          ['@nestjs/axios', '@nestjs/config', '@nestjs/event-emitter'].map((name) => {
            const range = peerDependencies[name]!.split(' || ').at(nest === '11' ? 0 : -1)!;
            return `${name}@${/\d+/.exec(range)![0]}`;
          }),
        );
      }
    }
  });

  it('never install a package of Nest without its version: the newest one is of another Nest', () => {
    const loose = inLanguage('sh', '').flatMap(({ page, line, code }) =>
      [...code.matchAll(/npm (?:install|i) .*/g)]
        .flatMap(([command]) => command.split(' '))
        .filter((word) => /^@nestjs\/[^@]+$/.test(word))
        .map((word) => `${page}:${line} ${word}`),
    );
    expect(loose).toEqual([]);
  });

  it('have JSON that parses', () => {
    expect(inLanguage('json').map(({ code }) => JSON.parse(code) as unknown)).not.toHaveLength(0);
  });

  it('have YAML that parses', () => {
    expect(inLanguage('yaml').flatMap(({ code }) => parseAllDocuments(code).flatMap(({ errors }) => errors))).toEqual(
      [],
    );
  });

  it('have commands that exist, for packages that exist', () => {
    const manifest = (path: string) =>
      JSON.parse(readFileSync(join(root, path), 'utf8')) as { name: string } & Record<
        'scripts' | 'dependencies' | 'devDependencies' | 'bin',
        Record<string, string> | undefined
      >;
    const { scripts, dependencies, devDependencies } = manifest('package.json');
    const libraries = ['rt-sms', 'rt-sms-bullmq', 'rt-sms-otp', 'rt-sms-testing'].map((name) =>
      manifest(`libs/${name}/package.json`),
    );
    const bins = libraries.flatMap(({ bin }) => Object.keys(bin ?? {}));
    const packages = new Set([
      ...Object.keys({ ...dependencies, ...devDependencies }),
      ...libraries.map(({ name }) => name),
    ]);
    const wrong = inLanguage('sh', '').flatMap(({ page, line, code }) => {
      const commands = code
        .replaceAll(/\\\n| #.*/g, ' ')
        .split(/\n|&&/)
        .map((command) => command.trim().split(/\s+/));
      return commands
        .filter(([program, verb = '', ...rest]) => {
          const words = rest.filter((word) => !word.startsWith('-'));
          if (program === 'npx')
            return !['nest', ...bins, ...packages].includes(verb.replace(/^@nestjs\/cli.*/, 'nest'));
          if (program !== 'npm') return false;
          if (verb === 'install') return !words.every((word) => packages.has(word.replace(/(?<=.)@\d+$/, '')));
          return verb !== 'ci' && !scripts![verb === 'run' ? words[0]! : verb];
        })
        .map((command) => `${page}:${line} ${command.join(' ')}`);
    });
    expect(wrong).toEqual([]);
  });

  it('set variables in their commands that something reads', () => {
    const sources = ts.sys.readDirectory(
      root,
      ['.ts', '.mjs'],
      ['**/node_modules', '**/dist'],
      ['apps', 'libs', '*.mjs'],
    );
    const read = new Set(sources.flatMap((path) => readFileSync(path, 'utf8').match(/\b[A-Z][A-Z0-9_]+\b/g) ?? []));
    const set = inLanguage('sh').flatMap(({ page, line, code }) =>
      [...code.matchAll(/(?:^|\s)([A-Z][A-Z0-9_]+)=/g)].map(([, name]) => ({
        name: name!,
        at: `${page}:${line} ${name}`,
      })),
    );
    expect(set.length).toBeGreaterThan(5);
    // The simulator derives its variables from its flags.
    const known = (name: string) => read.has(name) || name.startsWith('RT_SMS_SIM_');
    expect(set.filter(({ name }) => !known(name)).map(({ at }) => at)).toEqual([]);
  });

  it('have links that lead somewhere', () => {
    const anchor = (heading: string) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .trim()
        .replaceAll(/\s/g, '-');
    const headings = (page: string) =>
      [
        ...readFileSync(page, 'utf8')
          .replaceAll(/^ *```[^]*?^ *```/gm, '')
          .matchAll(/^#+ (.*)$/gm),
      ].map((match) => anchor(match[1]!));
    const wrong = PAGES.flatMap((page) => {
      const text = readFileSync(join(root, page), 'utf8').replaceAll(/^ *```[^]*?^ *```/gm, '');
      const named = [...text.matchAll(/^\[([^\]]+)\]: (\S+)$/gm)].map(([, name, to]) => [name!, to!] as const);
      const used = [...text.matchAll(/\]\[([^\]]+)\]/g)].map((match) => match[1]!);
      const targets = [
        ...[...text.matchAll(/\]\(([^)\s]*)\)/g)].map((match) => match[1]!),
        ...named.map(([, to]) => to),
      ];
      const lost = targets.filter((target) => {
        const [path, to] = target.split('#');
        const file = path ? resolve(root, dirname(page), path) : join(root, page);
        if (/^https?:/.test(target)) return false;
        return !existsSync(file) || (to !== undefined && !headings(file).includes(to));
      });
      const names = named.map(([name]) => name);
      const loose = [...used.filter((name) => !names.includes(name)), ...names.filter((name) => !used.includes(name))];
      return [...lost, ...loose].map((what) => `${page}: ${what}`);
    });
    expect(wrong).toEqual([]);
  });
});
