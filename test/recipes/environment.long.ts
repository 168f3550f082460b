import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { atEnd } from '../platforms.js';
import { pageOfSuite } from './page.js';

describe('the recipe for the environment', () => {
  const page = pageOfSuite('docs/recipes/environment.md');

  async function run(file: string, env: NodeJS.ProcessEnv) {
    const child = page.run(file, env);
    const [output, errors, [code]] = await Promise.all([
      text(child.stdout!),
      text(child.stderr!),
      once(child, 'exit') as Promise<[number]>,
    ]);
    return { output, errors, code };
  }

  it.each(['zod', 'joi'])(
    '%s names all wrong variables at the start, without values of secrets',
    async (library) => {
      const gateway = await RtSmsSimulator.start({ password: 'hunter2' });
      atEnd(() => gateway.close());
      const { login, password, url } = gateway.options;
      const right = {
        REDIS_URL: 'redis://127.0.0.1:6379',
        RT_SMS_LOGIN: login,
        RT_SMS_PASSWORD: password,
        RT_SMS_URL: url,
        RT_SMS_SHORTCODE: 'SHOP',
        RT_SMS_CALLBACK_SECRETS: 'a-secret-of-sixteen,another-secret-of-sixteen',
      };
      const { RT_SMS_SHORTCODE: _, ...rest } = right;
      const wrong = {
        ...rest,
        REDIS_URL: 'postgres://shop:swordfish@127.0.0.1/shop',
        RT_SMS_CALLBACK_SECRETS: 'open sesame',
      };
      const started = await run(`src/${library}.ts`, right);
      const refused = await run(`src/${library}.ts`, wrong);
      expect(started.output).toMatch(/^3000 true$/m);
      expect(started).toMatchObject({ code: 0, errors: '' });
      expect(refused.code).toBe(1);
      for (const name of ['REDIS_URL', 'RT_SMS_SHORTCODE', 'RT_SMS_CALLBACK_SECRETS'])
        expect(refused.errors).toContain(name);
      for (const value of ['swordfish', 'sesame', password]) expect(refused.errors).not.toContain(value);
    },
    240_000,
  );
});
