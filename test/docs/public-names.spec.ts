import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import ts from 'typescript';

const root = resolve(import.meta.dirname, '../..');
const ENTRIES = [
  'rt-sms/src/index.ts',
  'rt-sms/src/engine/index.ts',
  'rt-sms/src/testing/index.ts',
  'rt-sms/src/terminus/index.ts',
  'rt-sms/src/message-file/index.ts',
  'rt-sms-bullmq/src/index.ts',
  'rt-sms-otp/src/index.ts',
  'rt-sms-otp/src/testing/index.ts',
  'rt-sms-testing/src/index.ts',
];

const config = ts.readConfigFile(resolve(root, 'tsconfig.json'), (path) => ts.sys.readFile(path)).config as object;
const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
const program = ts.createProgram(
  ENTRIES.map((entry) => resolve(root, 'libs', entry)),
  options,
);
const checker = program.getTypeChecker();

// Nest's hooks are internal to their class.
const HOOK = /^(on(Module|Application)|beforeApplication)/;
const HIDDEN = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;
const isOurs = ({ fileName }: ts.SourceFile) => fileName.startsWith(`${root}/libs/`);
/** True if the symbol, or the one that it overrides, has a sentence; a tag alone is not enough. */
const documented = (symbol: ts.Symbol) =>
  symbol.getDocumentationComment(checker).length > 0 ||
  symbol.getJsDocTags(checker).some(({ name }) => name === 'internal');

/** Members of a class or an interface that are declared in these libraries. */
function membersOf(symbol: ts.Symbol): ts.Symbol[] {
  const isClass = Boolean(symbol.flags & ts.SymbolFlags.Class);
  if (!isClass && !(symbol.flags & ts.SymbolFlags.Interface)) return [];
  const statics = isClass ? checker.getTypeOfSymbol(symbol).getProperties() : [];
  return [...statics, ...checker.getDeclaredTypeOfSymbol(symbol).getProperties()].filter((member) =>
    member.declarations?.some(
      (node) =>
        !HOOK.test(member.name) &&
        isOurs(node.getSourceFile()) &&
        !(ts.getCombinedModifierFlags(node) & HIDDEN) &&
        !(ts.isClassElement(node) && node.name !== undefined && ts.isPrivateIdentifier(node.name)),
    ),
  );
}

describe.each(ENTRIES)('%s', (entry) => {
  it('has a docstring on every public name, and on every member of it', () => {
    const file = program.getSourceFile(resolve(root, 'libs', entry))!;
    const names = checker.getExportsOfModule(checker.getSymbolAtLocation(file)!).map((exported) => ({
      name: exported.name,
      symbol: exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported,
    }));
    expect(names.length).toBeGreaterThan(0);
    const bare = names.flatMap(({ name, symbol }) => [
      ...(documented(symbol) ? [] : [name]),
      ...membersOf(symbol)
        .filter((member) => !documented(member))
        .map((member) => `${name}.${member.name}`),
    ]);
    expect([...new Set(bare)].toSorted()).toEqual([]);
  });
});

it('the site of them builds without a warning', async () => {
  const typedoc = resolve(root, 'node_modules/typedoc/bin/typedoc');
  await promisify(execFile)(process.execPath, [typedoc, '--emit', 'none'], { cwd: root });
}, 240_000);
