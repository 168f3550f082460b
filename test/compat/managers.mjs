// Tests docs/recipes/package-managers.md as printed, with tarballs in place of the registry: pnpm, and Yarn with
// Plug'n'Play, install the package with the commands of the page, and an application sends a message through it.
import { execFile } from 'node:child_process';
import { match, ok } from 'node:assert';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const page = await readFile(join(import.meta.dirname, '../..', 'docs/recipes/package-managers.md'), 'utf8');
const base = ['@nestjs/common@12', '@nestjs/core@12', '@nestjs/platform-express@12', 'reflect-metadata', 'rxjs'];

/** Program and version of each, how it runs Node, and its settings. */
export const MANAGERS = {
  pnpm: { program: 'pnpm@12', node: ['exec', 'node'], files: {} },
  yarn: {
    program: '@yarnpkg/cli-dist@4',
    node: ['node'],
    // A tarball may lie outside of the project. The folder is not part of another project.
    files: { '.yarnrc.yml': 'enableTelemetry: false\nenableImmutableInstalls: false\n', 'yarn.lock': '' },
  },
};

const MAIN = `
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { NestFactory } from '@nestjs/core';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { RtSmsModule, RtSmsService, rtSmsConfig } from 'nestjs-rt-sms';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';

const gateway = await RtSmsSimulator.start();
const { login, password, url } = gateway.options;
Object.assign(process.env, { RT_SMS_LOGIN: login, RT_SMS_PASSWORD: password, RT_SMS_URL: url, RT_SMS_SHORTCODE: 'SHOP' });
class AppModule {}
Module({
  imports: [ConfigModule.forRoot(), EventEmitterModule.forRoot(), RtSmsModule.forRootAsync(rtSmsConfig.asProvider())],
})(AppModule);
const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
await app.listen(0, '127.0.0.1');
await app.get(RtSmsService).send({ msisdn: '+79270000001', text: 'Hello' });
console.log('sent', gateway.messages.length);
await app.close();
await gateway.close();
// A dependency of the package is not one of the application: the package manager is strict.
console.log('undici', await import('undici').then(() => 'found', ({ code }) => code));
`;

/** @param home an empty folder outside of any project */
export async function managed(manager, home, packed) {
  const { program, node, files } = MANAGERS[manager];
  const words = new RegExp(`^${manager} add (.*)$`, 'm').exec(page)[1].split(' ');
  ok(words.includes('nestjs-rt-sms'));
  const packages = words.map((word) => (word === 'nestjs-rt-sms' ? `nestjs-rt-sms@file:${packed['rt-sms']}` : word));
  const testing = `nestjs-rt-sms-testing@file:${packed['rt-sms-testing']}`;
  const env = { ...process.env, NODE_OPTIONS: '', NO_COLOR: '1', CI: '', npm_config_update_notifier: 'false' };
  const command = (...args) =>
    run('npx', ['--yes', program, ...args], { cwd: home, env, shell: process.platform === 'win32', timeout: 300_000 });
  await rm(home, { recursive: true, force: true });
  await mkdir(home, { recursive: true });
  const manifest = { name: 'shop', private: true, type: 'module' };
  await writeFile(join(home, 'package.json'), JSON.stringify(manifest));
  await writeFile(join(home, 'main.js'), MAIN);
  for (const [name, text] of Object.entries(files)) await writeFile(join(home, name), text);
  await command('add', ...base, ...packages, testing);
  const { stdout } = await command(...node, 'main.js');
  match(stdout, /^sent 1$/m);
  match(stdout, /^undici (ERR_MODULE_NOT_FOUND|MODULE_NOT_FOUND|ERR_REQUIRE_ESM|UNDECLARED_DEPENDENCY)$/m);
}
