// node --import ./test/child/ts.mjs child.ts: runs TypeScript of this workspace from its sources, as Jest does.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

if (isMainThread) register(import.meta.url);

const sources = (path) => new URL(`../../libs/${path}/src/`, import.meta.url).href;

export function resolve(specifier, context, next) {
  const [, name, part = ''] = /^(nestjs-rt-sms(?:-testing|-bullmq|-otp)?)(\/.*)?$/.exec(specifier) ?? [];
  if (name) return next(`${sources(name.slice('nestjs-'.length))}${part.slice(1)}${part && '/'}index.ts`, context);
  const source = specifier.startsWith('.') && new URL(specifier.replace(/\.js$/, '.ts'), context.parentURL);
  return next(source && existsSync(source) ? source.href : specifier, context);
}

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context);
  const { transform } = await import('@swc/core');
  const { code } = await transform(await readFile(fileURLToPath(url), 'utf8'), {
    filename: fileURLToPath(url),
    sourceMaps: 'inline',
    jsc: {
      target: 'es2022',
      parser: { syntax: 'typescript', decorators: true },
      transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
    },
    module: { type: 'es6' },
  });
  return { format: 'module', source: code, shortCircuit: true };
}
