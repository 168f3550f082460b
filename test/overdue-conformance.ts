import { EventEmitter2 } from '@nestjs/event-emitter';
import type { RtSmsOptions, SmsEngineFactory } from 'nestjs-rt-sms';
import type { RtSmsSimulatorOptions } from 'nestjs-rt-sms-testing';
import { runEngine, SECRET, type EngineSetting, type EngineTraits } from './engine-conformance.js';

const AFTER_MS = 2_000;
/** So long that a busy machine keeps the order of two events. */
const LATER_MS = 2_000;
const hello = { msisdn: '79270000001', text: 'Hello', overdueAfterMs: AFTER_MS };
/** A timer of a store may be early by this. */
const EARLY_MS = 60;

/** The requirements for `overdueAfterMs`, for all engines. */
export function overdueConformance(
  name: string,
  engine: (setting: EngineSetting) => SmsEngineFactory | undefined,
  { inProcess = false }: EngineTraits = {},
): void {
  async function run(options?: Partial<RtSmsOptions>, simulator?: RtSmsSimulatorOptions) {
    const running = await runEngine(engine, options, simulator);
    const { app, events, gateway, until } = running;
    const overdue = () => events.filter(({ event }) => event === 'rt-sms.overdue');
    return {
      ...running,
      overdue,
      /** Resolves when the messages with these ids are overdue. */
      late: (...ids: string[]) => until(() => ids.every((id) => overdue().some((event) => event.id === id))),
      /** Sets a status whose callback is lost. */
      reportLost: async (uids: string[], status: 'delivered') => {
        gateway.callTo(undefined);
        for (const uid of uids) await gateway.report(uid, status);
        gateway.callTo(`${await app.getUrl()}/rt-sms/callback/${SECRET}`);
      },
      uidOf: async (text: string) => (await gateway.waitForMessage((message) => message.text === text)).uid,
    };
  }

  describe(`overdueAfterMs of the engine ${name}`, () => {
    it('a message without a final status is polled, and then announced once; a final status may follow', async () => {
      const { sms, gateway, events, overdue, settled, until, late } = await run();
      const began = performance.now();
      await sms.enqueue({ ...hello, ref: 'order 1' }, { id: 'a' });
      const sent = await sms.send({ ...hello, ref: 'order 2', overdueAfterMs: AFTER_MS + LATER_MS });
      await settled('a');
      const { uid } = gateway.messages.find((message) => message.uid !== sent.uid)!;
      await gateway.report(uid, 'awaiting_report');
      await until(() => overdue().length === 1);
      expect(performance.now() - began).toBeGreaterThanOrEqual(AFTER_MS - EARLY_MS);
      expect(gateway.exchanges.filter(({ method, path }) => method === 'GET' && path.includes(uid))).toHaveLength(1);
      await until(() => overdue().length === 2);
      const event = { event: 'rt-sms.overdue', account: 'default' };
      expect(overdue()).toEqual([
        { ...event, id: 'a', uid, ref: 'order 1', lastStatus: 'awaiting_report', overdueAfterMs: AFTER_MS },
        { ...event, uid: sent.uid, ref: 'order 2', overdueAfterMs: AFTER_MS + LATER_MS, lastStatus: 'awaiting_report' },
      ]);
      expect(gateway.requests.get).toBe(2);
      await gateway.report(uid, 'delivered');
      await until(() => events.some(({ status }) => status === 'delivered'));
      await sms.enqueue(hello, { id: 'a' });
      await sms.enqueue(hello, { id: 'b' });
      await late('b');
      expect(overdue()).toHaveLength(3);
    });

    it('a message that is final in time is not announced, also if its callback was lost', async () => {
      const { sms, gateway, events, overdue, reportLost, until, late, uidOf } = await run();
      await sms.enqueueMany(['called', 'lost', 'late'].map((text) => ({ message: { ...hello, text }, id: text })));
      const { uid: sent } = await sms.send({ ...hello, text: 'sent' });
      await Promise.all([gateway.report(await uidOf('called'), 'delivered'), gateway.report(sent, 'failed')]);
      await reportLost([await uidOf('lost')], 'delivered');
      await late('late');
      const lost = await uidOf('lost');
      await until(() => events.some(({ uid, event }) => uid === lost && event === 'rt-sms.status'));
      expect(events.find(({ uid, event }) => uid === lost && event === 'rt-sms.status')).toMatchObject({
        status: 'delivered',
        source: 'poll',
        confirmed: true,
      });
      expect(overdue().map(({ id }) => id)).toEqual(['late']);
    });

    it('a message that has not been sent is announced without a uid, once, and also if its id is queued again', async () => {
      const { sms, gateway, overdue, late, settled } = await run();
      gateway.nextSend('wrong_ip', Infinity);
      gateway.nextStatus('wrong_ip', Infinity);
      await sms.enqueue({ ...hello, ref: 'order 1' }, { id: 'a' });
      await late('a');
      expect(overdue()).toEqual([
        { event: 'rt-sms.overdue', account: 'default', id: 'a', ref: 'order 1', overdueAfterMs: AFTER_MS },
      ]);
      await sms.enqueue(hello, { id: 'a' });
      await sms.enqueue({ ...hello, overdueAfterMs: AFTER_MS + 300 }, { id: 'b' });
      await late('b');
      gateway.clearFaults();
      await sms.getStatus('message-id-anything').catch(() => undefined);
      await settled('a', 'b');
      await sms.enqueue(hello, { id: 'a' });
      await sms.enqueue({ ...hello, overdueAfterMs: AFTER_MS + 300 }, { id: 'c' });
      await late('c');
      expect(overdue().map(({ id }) => id)).toEqual(['a', 'b', 'c']);
    });

    it('with delayMs the time counts from then', async () => {
      const { sms, late } = await run();
      const began = performance.now();
      await sms.enqueue(hello, { id: 'a', delayMs: 1_500 });
      await late('a');
      expect(performance.now() - began).toBeGreaterThanOrEqual(1_500 + AFTER_MS - EARLY_MS);
    });

    it('a message that has settled without a uid is not announced', async () => {
      const { sms, gateway, overdue, late, settled } = await run({ timeouts: { sendMs: 500 } });
      gateway.nextSend('invalid_field_text');
      await sms.enqueue(hello, { id: 'refused' });
      await settled('refused');
      gateway.nextSend({ fault: 'timeout', accepted: true });
      await sms.enqueue(hello, { id: 'unknown' });
      await settled('unknown');
      gateway.nextSend('invalid_field_text');
      await expect(sms.send(hello)).rejects.toMatchObject({ outcome: 'rejected' });
      await sms.enqueue(hello, { id: 'expired', expiresAt: new Date(0) });
      await sms.enqueue(hello, { id: 'cancelled', delayMs: 60_000 });
      await sms.cancel('cancelled');
      await settled('expired', 'cancelled');
      await sms.enqueue({ ...hello, overdueAfterMs: AFTER_MS + 300 }, { id: 'sent' });
      await late('sent');
      expect(overdue().map(({ id }) => id)).toEqual(['sent']);
    });

    it('a message whose POST is in flight at that time is announced once it has a uid, after accepted', async () => {
      const { sms, gateway, events, late } = await run({}, { latencyMs: 3_500 });
      await sms.enqueue(hello, { id: 'a' });
      await gateway.waitForMessage();
      await late('a');
      const { uid } = gateway.messages[0]!;
      expect(events.filter(({ id }) => id === 'a')).toMatchObject([
        { event: 'rt-sms.accepted', uid },
        { event: 'rt-sms.overdue', uid },
      ]);
    });

    it.each([
      ['fails', { status: 503 }],
      ['rejects this process', 'wrong_ip'],
    ] as const)('a gateway that %s does not prevent the event', async (_, fault) => {
      const { sms, gateway, overdue, late, settled } = await run();
      await sms.enqueueMany(['a', 'b'].map((id) => ({ message: hello, id })));
      await settled('a', 'b');
      gateway.nextStatus(fault, Infinity);
      await sms.getStatus('message-id-anything').catch(() => undefined);
      const began = performance.now();
      await late('a', 'b');
      expect(performance.now() - began).toBeLessThan(20_000);
      expect(overdue()).toMatchObject(
        gateway.messages.map(({ uid }) => ({ uid: expect.any(String), account: uid && 'default' })),
      );
    });

    it('a failed handler is called again with the same event, if the engine repeats events', async () => {
      const { app, sms, gateway, overdue, until, settled } = await run();
      const calls = inProcess ? 1 : 3;
      let failures = 0;
      app.get(EventEmitter2).on('rt-sms.overdue', () => {
        if (++failures < calls) throw new Error('the database is down');
      });
      await sms.enqueue({ ...hello, ref: 'order 1' }, { id: 'sent' });
      await settled('sent');
      await until(() => overdue().length === calls);
      gateway.nextSend('wrong_ip', Infinity);
      gateway.nextStatus('wrong_ip', Infinity);
      failures = 0;
      await sms.enqueue({ ...hello, ref: 'order 2' }, { id: 'waiting' });
      await until(() => overdue().length === 2 * calls);
      const [{ uid } = { uid: '' }] = gateway.messages;
      const event = { event: 'rt-sms.overdue', account: 'default', overdueAfterMs: AFTER_MS };
      expect(overdue()).toEqual([
        ...Array.from({ length: calls }, () => ({
          ...event,
          id: 'sent',
          uid,
          ref: 'order 1',
          lastStatus: 'awaiting_report',
        })),
        ...Array.from({ length: calls }, () => ({ ...event, id: 'waiting', ref: 'order 2' })),
      ]);
    });

    it('needs tracking', async () => {
      const { sms, gateway } = await run({ tracking: false });
      const problem = 'overdueAfterMs needs tracking, which is off (tracking: false)';
      await expect(sms.send(hello)).rejects.toThrow(problem);
      await expect(sms.enqueue(hello)).rejects.toThrow(problem);
      expect(gateway.requests.post).toBe(0);
    });

    it('of 1,000 messages, half final in time, a quarter final with a lost callback: the last quarter, once each', async () => {
      // For stores see test/durable/overdue.long.ts, with processes.
      if (!inProcess) return;
      const overdueAfterMs = 20_000;
      const { sms, gateway, events, overdue, reportLost, until } = await run({
        connections: 20,
        tracking: { perSecond: 500 },
      });
      const all = Array.from({ length: 1_000 }, (_, n) => `m${n}`);
      const kind = (id: string) => ['called', 'lost', 'called', 'open'][Number(id.slice(1)) % 4]!;
      gateway.on('message', ({ uid, text }) => void (kind(text) === 'called' && gateway.report(uid, 'delivered')));
      await sms.enqueueMany(all.map((id) => ({ message: { ...hello, text: id, overdueAfterMs }, id })));
      const count = (name: string) => events.filter(({ event }) => event === name).length;
      await until(() => count('rt-sms.accepted') === all.length);
      const lost = gateway.messages.filter(({ text }) => kind(text) === 'lost').map(({ uid }) => uid);
      await reportLost(lost, 'delivered');
      expect(overdue()).toEqual([]);
      const open = all.filter((id) => kind(id) === 'open');
      await until(() => count('rt-sms.status.delivered') === 750 && overdue().length >= open.length);
      expect(
        overdue()
          .map(({ id }) => id)
          .toSorted(),
      ).toEqual(open.toSorted());
      // The lost ones and the open ones were polled once each.
      expect(gateway.requests.get).toBe(500);
    }, 120_000);
  });
}
