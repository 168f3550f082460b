import { readFileSync } from 'node:fs';
import { Injectable } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { EventEmitterModule } from '@nestjs/event-emitter';
import { Test } from '@nestjs/testing';
import {
  getRtSmsToken,
  InjectRtSms,
  OnRtSmsStatus,
  RtSmsModule,
  rtSmsConfig,
  RtSmsService,
  type RtSmsStatusEvent,
} from 'nestjs-rt-sms';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { RtSmsRecorder } from 'nestjs-rt-sms/testing';
import { getGlobalDispatcher, MockAgent, setGlobalDispatcher } from 'undici';
import { atEnd, start } from './platforms.js';

const hello = { msisdn: '79270000001', text: 'Hello', shortcode: 'SHOP' };

/** Sets the variables that docs/testing.md shows for the setup file of all tests. */
function setPrintedVariables(): void {
  const page = readFileSync('docs/testing.md', 'utf8');
  const lines = [...page.matchAll(/^ *process\.env\.(RT_SMS_\w+) = '(.*)';$/gm)];
  expect(lines.map(([, name]) => name)).toEqual(['RT_SMS_LOGIN', 'RT_SMS_PASSWORD', 'RT_SMS_URL']);
  for (const [, name, value] of lines) {
    process.env[name!] = value;
    atEnd(() => delete process.env[name!]);
  }
}

describe('tests without a network', () => {
  it('the address of docs/testing.md lets an application start and fails every send, certainly not sent', async () => {
    setPrintedVariables();
    const { app } = await start('express', {
      imports: [
        ConfigModule.forRoot({ ignoreEnvFile: true }),
        EventEmitterModule.forRoot(),
        RtSmsModule.forRootAsync(rtSmsConfig.asProvider()),
      ],
    });
    await expect(app.get(RtSmsService).send(hello)).rejects.toMatchObject({
      name: 'RtSmsConnectionError',
      outcome: 'not_sent',
    });
  });

  it('a global MockAgent does not stop a send, as the page says', async () => {
    const gateway = await RtSmsSimulator.start();
    atEnd(() => gateway.close());
    const before = getGlobalDispatcher();
    atEnd(() => setGlobalDispatcher(before));
    const agent = new MockAgent();
    agent.disableNetConnect();
    const { app } = await start('express', {
      imports: [EventEmitterModule.forRoot(), RtSmsModule.forRoot({ ...gateway.options, callbackPath: false })],
    });
    setGlobalDispatcher(agent);
    await app.get(RtSmsService).send(hello);
    expect(gateway.messages).toHaveLength(1);
  });

  it('the recorder replaces an account in a whole application, with its listeners', async () => {
    const gateway = await RtSmsSimulator.start();
    atEnd(() => gateway.close());
    const delivered: string[] = [];
    @Injectable()
    class Orders {
      constructor(
        private readonly sms: RtSmsService,
        @InjectRtSms() private readonly same: RtSmsService,
      ) {}
      shipped() {
        expect(this.sms).toBe(this.same);
        return this.sms.send(hello);
      }
      @OnRtSmsStatus('delivered')
      onDelivered({ uid }: RtSmsStatusEvent) {
        delivered.push(uid);
      }
    }
    const sms = new RtSmsRecorder();
    const module = await Test.createTestingModule({
      imports: [EventEmitterModule.forRoot(), RtSmsModule.forRoot(gateway.options)],
      providers: [Orders],
    })
      .overrideProvider(getRtSmsToken())
      .useFactory(sms.override)
      .compile();
    const app = await module.createNestApplication().init();
    atEnd(() => app.close());
    const { uid } = await app.get(Orders).shipped();
    await sms.emitStatus(uid, 'delivered');
    expect([sms.sent.length, gateway.messages.length, delivered]).toEqual([1, 0, [uid]]);
  });
});
