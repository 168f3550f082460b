import { post, Receiver, send, SMS } from '../../test/support.js';
import { RtSmsSimulator } from '../simulator.js';
import { playScript, readScript } from './script.js';

describe('reading', () => {
  it('accepts a list of steps', () => {
    const steps = [
      { send: 'system_error', times: 2 },
      { status: { status: 503 } },
      { set: { loss: 0.5, lifecycle: false } },
      { report: 'rejected', err: '11' },
      { waitMs: 5 },
      { waitMessages: 1 },
      { clear: true },
    ];
    expect(readScript(JSON.stringify(steps))).toEqual(steps);
  });

  it.each([
    ['[', 'not JSON'],
    ['{}', 'must be a list of steps'],
    ['[5]', 'step 1 must be an object'],
    ['[{}]', 'step 1 must be one of'],
    ['[{"clear":true},{"send":"html","set":{}}]', 'step 2 must be one of'],
    ['[{"sned":"html"}]', 'step 1 must be one of'],
    ['[{"send":"nope"}]', 'expected one of invalid_request_body'],
    ['[{"send":5}]', 'step 1 Not a fault'],
    ['[{"send":"html","times":0}]', 'times must be a whole number above 0'],
    ['[{"waitMs":5,"times":2}]', 'times must be a whole number above 0, together with a fault'],
    ['[{"set":{"loss":2}}]', 'set.loss must be a probability'],
    ['[{"set":{"port":2}}]', 'set has no port'],
    ['[{"waitMs":-1}]', 'waitMs must be'],
    ['[{"waitMessages":0.5}]', 'waitMessages must be'],
    ['[{"report":""}]', 'report must be a status'],
    ['[{"report":"rejected","err":11}]', 'err must be a string'],
    ['[{"clear":false}]', 'clear must be true'],
  ])('names the problem with %s', (json, problem) => {
    expect(() => readScript(json)).toThrow(problem);
  });
});

describe('playing', () => {
  it('runs the steps one after the other', async () => {
    const receiver = await Receiver.start();
    const gateway = await RtSmsSimulator.start({ lifecycle: false, callbackUrl: receiver.url });
    try {
      const playing = playScript(
        gateway,
        readScript(`[
          { "send": "system_error" }, { "waitMessages": 2 },
          { "report": "awaiting_report" }, { "report": "rejected", "err": "11" }, { "set": { "loss": 1 } }
        ]`),
        new AbortController().signal,
      );
      expect((await post(gateway, SMS)).text).toContain('system_error');
      await send(gateway);
      expect(gateway.messages).toHaveLength(1);
      const newest = await send(gateway);
      await playing;
      expect(receiver.statuses).toEqual(['awaiting_report', 'rejected']);
      expect(receiver.seen[1]).toMatch(new RegExp(`id=${newest}&status=rejected&parts=1&err=11`));
      expect(gateway.adjustments.loss).toBe(1);
    } finally {
      await gateway.close();
      await receiver.close();
    }
  });

  it('stops when the signal aborts', async () => {
    const gateway = await RtSmsSimulator.start();
    const stop = new AbortController();
    const playing = playScript(gateway, [{ waitMessages: 1 }, { send: 'html' }], stop.signal);
    stop.abort();
    await playing;
    expect(gateway.faults.send).toEqual([]);
    await gateway.close();
  });
});
