import { EventEmitterModule } from '@nestjs/event-emitter';
import { Injectable, Module } from '@nestjs/common';
import { OnRtSmsStatus, RtSmsModule, RtSmsService, type RtSmsStatusEvent } from 'nestjs-rt-sms';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { atEnd, PLATFORMS, start } from './platforms.js';

describe.each(PLATFORMS)('the main job on %s', (platform) => {
  it('sends a message, and its status arrives as an event', async () => {
    const gateway = await RtSmsSimulator.start({ lifecycle: false });
    atEnd(() => gateway.close());
    const events: RtSmsStatusEvent[] = [];
    @Injectable()
    class Listener {
      @OnRtSmsStatus()
      on(event: RtSmsStatusEvent): void {
        events.push(event);
      }
    }
    @Module({
      imports: [
        EventEmitterModule.forRoot(),
        RtSmsModule.forRoot({ ...gateway.options, shortcode: 'SHOP', callback: { secrets: 'a-secret-of-sixteen' } }),
      ],
      providers: [Listener],
    })
    class AppModule {}
    const { app, url } = await start(platform, { imports: [AppModule] });
    gateway.callTo(`${url}/rt-sms/callback/a-secret-of-sixteen`);
    const sms = app.get(RtSmsService);

    const sent = await sms.send({ msisdn: '8 927 000-00-01', text: 'Ваш заказ готов' });
    expect(sent).toMatchObject({ msisdn: '79270000001', shortcode: 'SHOP', segments: 1, attempts: 1 });
    expect(sent.uid).toMatch(/^message-id-[A-Za-z0-9]{12}$/);
    expect(gateway.messages).toMatchObject([{ msisdn: '79270000001', text: 'Ваш заказ готов', shortcode: 'SHOP' }]);

    await gateway.report(sent.uid, 'awaiting_report');
    await gateway.report(sent.uid, 'delivered', { parts: 1 });
    await expect(sms.waitForFinal(sent.uid, { timeoutMs: 1000 })).resolves.toMatchObject({ status: 'delivered' });
    expect(events.map(({ status, source, confirmed, parts }) => ({ status, source, confirmed, parts }))).toEqual([
      { status: 'awaiting_report', source: 'callback', confirmed: false, parts: 1 },
      { status: 'delivered', source: 'callback', confirmed: false, parts: 1 },
    ]);
  });
});
