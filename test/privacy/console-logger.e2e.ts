import { ConsoleLogger } from '@nestjs/common';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { startAccount } from '../faults/account.js';
import { atEnd } from '../platforms.js';

const MESSAGE = { msisdn: '79271234567', text: 'Your code is 5829' };

/** A logger of Nest 12 that keeps what it would print. */
class KeepingLogger extends ConsoleLogger {
  printed = '';

  protected override printAsJson(...[message, options]: Parameters<ConsoleLogger['printAsJson']>): void {
    this.printed += this.stringifyJsonLogObject(this.getJsonLogObject(message, options));
  }
}

describe('ConsoleLogger with redact, for what an application logs', () => {
  it.each([
    ['masks number and text', ['msisdn', 'text'], []],
    ['shows them without it (control)', [], [MESSAGE.msisdn, MESSAGE.text]],
  ])('%s', async (_, redact, shown) => {
    const gateway = await RtSmsSimulator.start({ lifecycle: false });
    atEnd(() => gateway.close());
    const { sms } = await startAccount(gateway, gateway.options);
    const logger = new KeepingLogger({ json: true, redact });
    const sent = await sms.send(MESSAGE);
    await gateway.report(sent.uid, 'delivered');
    logger.log(sent);
    logger.warn({ report: await sms.getStatus(sent.uid) });
    expect(logger.printed).toContain(sent.uid);
    expect(logger.printed).toContain('delivered');
    expect([MESSAGE.msisdn, MESSAGE.text].filter((value) => logger.printed.includes(value))).toEqual(shown);
  });
});
