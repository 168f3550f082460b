// Plugin of TypeDoc for `npm run docs`: titles and languages of the pages, and a search that finds Russian words. TypeDoc
// itself checks the links.
import lunr from 'lunr';
import { Converter, PageEvent, ReflectionKind } from 'typedoc';

const RUSSIAN = 'По-русски';
const groups = [
  [/\/docs\/recipes\//, 'Recipes'],
  [/\/docs\/ru\/|\.ru\.md$/, RUSSIAN],
];

export function load(app) {
  // lunr's own trimmer removes every letter that is not Latin.
  lunr.trimmer = (token) => token.update((word) => word.replaceAll(/^[^\p{L}\p{N}_]+|[^\p{L}\p{N}_]+$/gu, ''));
  lunr.Pipeline.registerFunction(lunr.trimmer, 'trimmerOfAllLetters');

  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_, document) => {
    const [, title = document.name] = /^# (.+)$/m.exec(document.content.map(({ text }) => text).join('')) ?? [];
    const path = document.project.files.getReflectionPath(document);
    document.name = path.endsWith('README.ru.md') ? 'Введение' : title.replaceAll('`', '');
    document.frontmatter.group = groups.find(([pattern]) => pattern.test(path))?.[1] ?? 'Pages';
  });

  app.renderer.on(PageEvent.END, (page) => {
    const isRussian = page.model.kind === ReflectionKind.Document && page.model.frontmatter.group === RUSSIAN;
    if (isRussian) page.contents = page.contents.replace('lang="en"', 'lang="ru"');
  });
}
