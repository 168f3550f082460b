// Tests docs/bundling.md as printed: each bundler on the page bundles a built application into one file,
// without @opentelemetry/api and with it. The file runs in an empty folder, where it cannot find other packages.
import { execFile } from 'node:child_process';
import { match, strictEqual } from 'node:assert';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const env = { ...process.env, npm_config_update_notifier: 'false', NODE_OPTIONS: '', NO_COLOR: '1' };

const page = await readFile(join(import.meta.dirname, '../../docs/bundling.md'), 'utf8');
const commands = [...page.matchAll(/^npx (esbuild .*)$/gm)].map(([, command]) => command);
const configuration = /```js\n([^]*?)```/.exec(page)[1];

const OTEL = ['@opentelemetry/api', '@opentelemetry/sdk-metrics'];
const MAIN = `import { main } from './src/bundle-main.js';`;
const ENTRIES = {
  'without OpenTelemetry': `${MAIN} void main();`,
  'with OpenTelemetry': `${MAIN}
    import { metrics } from '@opentelemetry/api';
    import { InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
    const exporter = new InMemoryMetricExporter(1);
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
    metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
    void main().then(async () => {
      await reader.forceFlush();
      const all = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
      console.log(all.map(({ descriptor }) => descriptor.name).join());
    });`,
};

const bundlers = {
  ...Object.fromEntries(
    commands.map((command) => [
      /--format=(\w+)/.exec(command)[0],
      (home) => run(`node_modules/.bin/${command}`, { cwd: home, env, shell: true, maxBuffer: 2 ** 24 }),
    ]),
  ),
  webpack: async (home) => {
    const file = join(home, 'webpack.config.mjs');
    await writeFile(file, configuration);
    const { default: config } = await import(pathToFileURL(file));
    const webpack = createRequire(file)('webpack');
    const stats = await promisify(webpack)({ ...config, context: home });
    strictEqual(stats.hasErrors(), false, stats.toString({ all: false, errors: true }));
  },
};

/** @param home folder of an installed and built application */
export async function bundled(home) {
  await rm(join(home, 'node_modules/@opentelemetry'), { recursive: true, force: true });
  const { RtSmsSimulator } = createRequire(join(home, 'package.json'))('nestjs-rt-sms-testing');
  for (const [what, entry] of Object.entries(ENTRIES)) {
    const withOtel = entry.includes('@opentelemetry');
    if (withOtel)
      await run('npm', ['install', '--no-save', '--no-package-lock', '--silent', ...OTEL], {
        cwd: home,
        env,
        shell: true,
      });
    await writeFile(join(home, 'dist/main.js'), entry);
    for (const [name, bundle] of Object.entries(bundlers)) {
      const output = join(home, name.includes('esm') ? 'bundle.mjs' : 'bundle.cjs');
      await rm(output, { force: true });
      await bundle(home);
      const empty = `${home}-bundled`;
      await rm(empty, { recursive: true, force: true });
      await mkdir(empty);
      await cp(output, join(empty, basename(output)));
      const gateway = await RtSmsSimulator.start();
      const { login, password, url } = gateway.options;
      const account = { RT_SMS_LOGIN: login, RT_SMS_PASSWORD: password, RT_SMS_URL: url, RT_SMS_SHORTCODE: 'SHOP' };
      try {
        const how = { cwd: empty, env: { ...env, ...account }, timeout: 60_000 };
        const { stdout, stderr } = await run(process.execPath, [basename(output)], how);
        match(stdout, /^42 by poll$/m, `${name} ${what}`);
        if (withOtel) match(stdout, /^rt_sms\.sends,.*rt_sms\.send\.duration_seconds/m, `${name} ${what}`);
        strictEqual(stderr, '');
      } finally {
        await gateway.close();
      }
    }
  }
}
