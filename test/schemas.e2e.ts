import { Body, Controller, Module, Post, StandardSchemaValidationPipe } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { Test } from '@nestjs/testing';
import {
  msisdnSchema,
  RtSmsModule,
  rtSmsConfig,
  RtSmsService,
  rtSmsEnvSchema,
  rtSmsEnvSchemaFor,
  smsMessageSchema,
  smsTextSchema,
  type ParsedSmsMessage,
} from 'nestjs-rt-sms';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import * as v from 'valibot';
import { z } from 'zod';
import { atEnd, PLATFORMS, start } from './platforms.js';

const environment = { ...process.env };
afterEach(() => {
  process.env = { ...environment };
});

@Controller()
class SmsController {
  constructor(private readonly sms: RtSmsService) {}

  @Post('message')
  message(@Body({ schema: smsMessageSchema }) message: ParsedSmsMessage) {
    return this.sms.send(message);
  }

  @Post('fields')
  fields(
    @Body('msisdn', { schema: msisdnSchema }) msisdn: string,
    @Body('text', { schema: smsTextSchema }) text: string,
  ) {
    return { msisdn, text };
  }
}

describe.each(PLATFORMS)('@Body({ schema }) of Nest 12 on %s', (platform) => {
  async function run() {
    const gateway = await RtSmsSimulator.start({ lifecycle: false });
    atEnd(() => gateway.close());
    const options = { ...gateway.options, shortcode: 'SHOP', callbackPath: false as const };
    @Module({
      imports: [EventEmitterModule.forRoot(), RtSmsModule.forRoot(options)],
      controllers: [SmsController],
    })
    class AppModule {}
    const { url } = await start(platform, { imports: [AppModule] }, (app) => {
      app.useGlobalPipes(new StandardSchemaValidationPipe());
    });
    const post = async (path: string, body: object) => {
      const response = await fetch(`${url}/${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      return { code: response.status, ...((await response.json()) as object) };
    };
    return { gateway, post };
  }

  it('a valid message is sent, to the number that was meant', async () => {
    const { gateway, post } = await run();
    const sent = await post('message', { msisdn: '+960 771-23-45', text: 'Hi', customer: 7 });
    expect(sent).toMatchObject({ code: 201, msisdn: '9607712345' });
    expect(gateway.messages.map(({ msisdn }) => msisdn)).toEqual(['9607712345']);
  });

  it('an invalid one gets 400 with the fields, and nothing is sent', async () => {
    const { gateway, post } = await run();
    const answer = await post('message', { msisdn: '8 (495) 123-45-67', text: ' ' });
    expect(answer).toMatchObject({
      code: 400,
      message: [
        expect.stringMatching(/^msisdn: must be a phone number/),
        expect.stringMatching(/^text: must be a string that is not blank/),
      ],
    });
    expect(JSON.stringify(answer)).not.toContain('123');
    expect(gateway.messages).toEqual([]);
  });

  it('single fields', async () => {
    const { post } = await run();
    const valid = await post('fields', { msisdn: '8 927 000-00-01', text: 'Hi' });
    expect(valid).toEqual({ code: 201, msisdn: '+79270000001', text: 'Hi' });
    await expect(post('fields', { msisdn: '8 927 000-00-01', text: '' })).resolves.toMatchObject({ code: 400 });
  });
});

describe('rtSmsEnvSchema', () => {
  const GOOD = { RT_SMS_LOGIN: 'shop', RT_SMS_PASSWORD: 'hunter2' };
  const issuesOf = (env: unknown, schema = rtSmsEnvSchema) => {
    const { issues = [] } = schema['~standard'].validate(env);
    return issues.map(({ path, message }) => [path?.join('.'), message]);
  };
  /** Starts an application with these variables. */
  const startWith = async (variables: Record<string, string>) => {
    process.env = { ...environment, ...variables };
    const app = await Test.createTestingModule({
      imports: [
        ConfigModule.forRoot({ ignoreEnvFile: true, validationSchema: rtSmsEnvSchema }),
        EventEmitterModule.forRoot(),
        RtSmsModule.forRootAsync({ ...rtSmsConfig.asProvider(), callbackPath: false }),
      ],
    }).compile();
    atEnd(() => app.close());
    return app;
  };

  it('in ConfigModule.forRoot({ validationSchema }): a valid environment starts', async () => {
    const app = await startWith({ ...GOOD, RT_SMS_RATE_PER_SECOND: '20' });
    expect(app.get(RtSmsService).account).toBe('default');
  });

  it('in ConfigModule.forRoot({ validationSchema }): all problems at once, with their variables', async () => {
    const failed: unknown = await startWith({ RT_SMS_PASSWORD: 'hunter2', RT_SMS_RATE_PER_SECOND: 'many' }).catch(
      (error: unknown) => error,
    );
    expect((failed as Error).message).toMatch(/^Config validation error: /);
    expect((failed as Error).message).toMatch(/^(.*: )?RT_SMS_LOGIN: is missing; it must be/m);
    expect((failed as Error).message).toMatch(/^RT_SMS_RATE_PER_SECOND: must be a whole number/m);
    expect((failed as Error).message).not.toContain('hunter2');
  });

  it('reads the given variables, not those of the process, and returns them unchanged', () => {
    process.env = { ...environment, ...GOOD };
    expect(issuesOf({})).toHaveLength(2);
    const env = { ...GOOD, OTHER: 'x', RT_SMS_LOGIN: ' shop ' };
    expect(rtSmsEnvSchema['~standard'].validate(env)).toEqual({ value: env });
    expect(issuesOf(undefined)).toEqual([[undefined, 'must be an object of variables']]);
  });

  it('reports a password next to a file', () => {
    expect(issuesOf({ ...GOOD, RT_SMS_PASSWORD_FILE: '/run/secrets/rt-sms' })).toEqual([
      ['RT_SMS_PASSWORD', 'and RT_SMS_PASSWORD_FILE are both set; unset one of them'],
    ]);
    expect(issuesOf({ RT_SMS_LOGIN: 'shop', RT_SMS_PASSWORD_FILE: '/run/secrets/rt-sms' })).toEqual([]);
  });

  it('of a named account', () => {
    const issues = issuesOf({ ...GOOD, RT_SMS_NIGHT_SHIFT_LOGIN: 'a:b' }, rtSmsEnvSchemaFor('night-shift'));
    expect(issues.map(([variable]) => variable)).toEqual(['RT_SMS_NIGHT_SHIFT_LOGIN', 'RT_SMS_NIGHT_SHIFT_PASSWORD']);
  });
});

describe('in the schemas of other libraries', () => {
  const ORDER = { id: 7, msisdn: '8 927 000-00-01' };

  it('zod: a field, and the variables of an application', () => {
    const msisdn = z.union([z.string(), z.number()]).transform((value, context) => {
      const result = msisdnSchema['~standard'].validate(value);
      if (!result.issues) return result.value;
      for (const { message } of result.issues) context.addIssue({ code: 'custom', message });
      return z.NEVER;
    });
    const order = z.object({ id: z.number(), msisdn });
    expect(order.parse(ORDER)).toEqual({ id: 7, msisdn: '+79270000001' });
    expect(order.safeParse({ ...ORDER, msisdn: '927' }).error?.issues).toMatchObject([
      { path: ['msisdn'], message: expect.stringMatching(/^must be a phone number/) },
    ]);

    const env = z.looseObject({ PORT: z.coerce.number() }).superRefine((variables, context) => {
      for (const { message, path = [] } of rtSmsEnvSchema['~standard'].validate(variables).issues ?? [])
        context.addIssue({ code: 'custom', message, path: [...path] });
    });
    const valid = { PORT: '3000', RT_SMS_LOGIN: 'shop', RT_SMS_PASSWORD: 'hunter2' };
    expect(env.parse(valid)).toEqual({ ...valid, PORT: 3000 });
    expect(env.safeParse({ ...valid, RT_SMS_LOGIN: '' }).error?.issues).toMatchObject([{ path: ['RT_SMS_LOGIN'] }]);
  });

  it('valibot: a field', () => {
    const msisdn = v.pipe(
      v.union([v.string(), v.number()]),
      v.rawTransform(({ dataset, addIssue, NEVER }) => {
        const result = msisdnSchema['~standard'].validate(dataset.value);
        if (!result.issues) return result.value;
        for (const { message } of result.issues) addIssue({ message });
        return NEVER;
      }),
    );
    const order = v.object({ id: v.number(), msisdn });
    expect(v.parse(order, ORDER)).toEqual({ id: 7, msisdn: '+79270000001' });
    const { success, issues } = v.safeParse(order, { ...ORDER, msisdn: '927' });
    expect(success).toBe(false);
    expect(issues?.map(({ message, path }) => [message.slice(0, 22), path?.map(({ key }) => key)])).toEqual([
      ['must be a phone number', ['msisdn']],
    ]);
  });
});
