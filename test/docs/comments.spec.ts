// Comments are whole sentences in the words of the glossary. This counts the tics that make them hard to read, see CONTRIBUTING.md.
import { readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import ts from 'typescript';

const root = resolve(import.meta.dirname, '../..');
const TICS: readonly RegExp[] = [
  // A fragment in place of a phrase with its noun.
  /^(of|what|whether|whoever|that|as|which|who|not|nor|only|both|none|no)\b/i,
  /\b(is|are|was|were|has|have) no (?!longer|more\b|other)\w/i,
  /\b(whoever|whatever|nobody|somebody|anybody|whichever)\b/i,
  /\bso long\b/i,
  // Machines send, return, reject and report.
  /\b(tells?|told|hears?|heard|owes?|owed|knows?|knew|wants?|wishes|says?|said|speaks?|learns?|learnt|complains?|insists?|seeks?)\b/i,
  /\b(beside|likewise|hence|thereby|lest|nor|upon|mends?|mended|anew)\b/i,
];
const MAX_SHARE = 0.05;

function commentsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  const comments: string[] = [];
  let lastEnd = -1;
  const scanner = ts.createScanner(ts.ScriptTarget.Latest, false, ts.LanguageVariant.Standard, text);
  for (let token = scanner.scan(); token !== ts.SyntaxKind.EndOfFileToken; token = scanner.scan()) {
    if (token === ts.SyntaxKind.MultiLineCommentTrivia)
      comments.push(
        scanner
          .getTokenText()
          .replaceAll(/^\/\*+|\*\/$/g, '')
          .replaceAll(/^\s*\* ?/gm, '')
          .trim(),
      );
    if (token !== ts.SyntaxKind.SingleLineCommentTrivia) continue;
    const line = scanner.getTokenText().slice(2).trim();
    // Lines that follow each other are one comment.
    if (/^\s*$/.test(text.slice(lastEnd, scanner.getTokenStart())) && lastEnd >= 0)
      comments.push(`${comments.pop()} ${line}`);
    else comments.push(line);
    lastEnd = scanner.getTokenEnd();
  }
  return comments.filter((comment) => !/^(@ts-|oxlint)/.test(comment));
}

it('counts tics where they are, and none in a plain sentence', () => {
  const hasTic = (comment: string) => TICS.some((tic) => tic.test(comment));
  for (const comment of [
    'Of a send.',
    'What the store knows.',
    'It is no number.',
    'A status is told once.',
    'Whoever asks',
  ])
    expect([comment, hasTic(comment)]).toEqual([comment, true]);
  for (const comment of [
    'Password of the HTTP connection (§1.2).',
    'Retries while the store is down.',
    'It no longer polls.',
  ])
    expect([comment, hasTic(comment)]).toEqual([comment, false]);
});

it.each(['libs/rt-sms', 'libs/rt-sms-bullmq', 'libs/rt-sms-otp', 'libs/rt-sms-testing', 'apps', 'bench', 'test'])(
  'at most a twentieth of the comments of %s have one',
  (folder) => {
    const files = ts.sys.readDirectory(join(root, folder), ['.ts'], ['**/node_modules', '**/dist', '**/compat/apps']);
    const all = files.flatMap((file) => commentsOf(file).map((comment) => [relative(root, file), comment] as const));
    const found = all.filter(([, comment]) => TICS.some((tic) => tic.test(comment)));
    expect(all.length).toBeGreaterThan(20);
    expect({ share: found.length / all.length, found: found.length / all.length > MAX_SHARE ? found : [] }).toEqual({
      share: expect.any(Number),
      found: [],
    });
  },
);
