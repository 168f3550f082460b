import { randomBytes } from 'node:crypto';
import type { INestApplication } from '@nestjs/common';
import { rtSmsConfig } from 'nestjs-rt-sms';
import { RtSmsSimulator } from 'nestjs-rt-sms-testing';
import { filter, firstValueFrom, timeout } from 'rxjs';
import { MessageJournal } from './messages/message-journal.js';
import type { Message } from './messages/message.dto.js';
import { MessagesService } from './messages/messages.service.js';
import { startsOf } from './policy.js';
import { listening } from './ports.js';

/** Time limit for the delivery of the demonstrated message, which takes less than two seconds. */
const DELIVERY_MS = 5_000;

/** Starts a simulated gateway in this process, and sets the environment variables for its account. */
export async function startGateway(port: number): Promise<RtSmsSimulator> {
  const options = { port, inbox: true, ...(await stagingNotice()) };
  const gateway = await listening('GATEWAY_PORT', port, () => RtSmsSimulator.start(options));
  const { login, password, url } = gateway.options;
  Object.assign(process.env, { RT_SMS_LOGIN: login, RT_SMS_PASSWORD: password, RT_SMS_URL: url });
  process.env.RT_SMS_SHORTCODE ||= 'DEMO';
  process.env.RT_SMS_CALLBACK_SECRETS ||= randomBytes(24).toString('base64url');
  process.env.INBOX_URL = gateway.inboxUrl;
  return gateway;
}

/** The simulator does not see the policy of the application, so the sample tells it what its inbox should say. */
async function stagingNotice(): Promise<{ notice?: string }> {
  const { onlyTo } = (await rtSmsConfig()).policy ?? {};
  // An invalid list is reported by the start of the application.
  if (!Array.isArray(onlyTo)) return {};
  const starts = startsOf(onlyTo).map((start) => `${start}…`);
  return {
    notice: `Staging mode: the application sends only to the numbers of a list (${starts.join(', ')}). Others do not arrive here.`,
  };
}

/** Sets the callback address in the gateway, as you would do in the provider's cabinet. */
export async function connectCallbacks(gateway: RtSmsSimulator, app: INestApplication): Promise<void> {
  const [secret] = (process.env.RT_SMS_CALLBACK_SECRETS ?? '').split(',');
  gateway.callTo(`${await app.getUrl()}/rt-sms/callback/${secret?.trim()}`);
}

/** Sends one message and waits for its delivery. Its outcome, even a failure, is in the log. */
export async function demonstrate(app: INestApplication): Promise<void> {
  const message = { msisdn: '+7 999 000-00-01', text: 'Hello from the sample' };
  const isDelivered = ({ text, status }: Message) => text === message.text && status === 'delivered';
  const delivered = firstValueFrom(app.get(MessageJournal).changes$.pipe(filter(isDelivered), timeout(DELIVERY_MS)));
  await Promise.all([app.get(MessagesService).send(message), delivered]).catch(() => undefined);
}
