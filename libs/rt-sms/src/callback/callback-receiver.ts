import type { Logger } from '@nestjs/common';
import { PENDING_SENDS_WAIT_MS, type DeliveryTracker } from '../delivery/delivery-tracker.js';
import type { PendingSends } from '../delivery/pending-sends.js';
import { readCallback, type CallbackPayload } from '../gateway/wire.js';
import { messageOf, redact } from '../redact.js';
import type { ResolvedOptions } from '../options/resolve-options.js';
import type { Telemetry } from '../telemetry.js';
import { CallbackAuthenticator } from './callback-authenticator.js';

/** Number of hints that wait for pending sends at most, because anyone can send hints. */
const MAX_WAITING_HINTS = 1_000;

interface ReceiverDependencies {
  options: ResolvedOptions;
  /** Returns the values of the account; a status word that shares anything with them is not passed on. */
  secrets: () => readonly string[];
  tracker: DeliveryTracker;
  /** True if the tracker has a store: a callback is then answered once it is stored. */
  isDurable: boolean;
  pendingSends: PendingSends;
  telemetry: Telemetry;
  logger: Logger;
}

/** Receives callbacks (§3.1): authenticates them and passes them to the tracker, after the sends that they may have overtaken. */
export class CallbackReceiver {
  private readonly authenticator: CallbackAuthenticator;
  private waitingHints = 0;

  constructor(private readonly account: ReceiverDependencies) {
    this.authenticator = new CallbackAuthenticator(account.options.callback);
  }

  /** @throws RtSmsOverloadedError, RtSmsTimeoutError if the store of the engine did not take an authenticated callback */
  async receive(
    query: Record<string, unknown>,
    request: { secret?: string | undefined; ip?: string | undefined },
  ): Promise<'accepted' | 'refused'> {
    const { telemetry, logger, secrets } = this.account;
    const trust = this.authenticator.check(request);
    const instruments = telemetry.active;
    if (trust === 'refused') {
      instruments?.countCallback('refused');
      return 'refused';
    }
    const payload = readCallback(query, secrets());
    if (!payload) {
      instruments?.countCallback('unreadable');
      logger.debug('Dropped a callback without a readable id');
    } else if (instruments) await instruments.callback(trust, async () => this.track(payload, trust === 'believed'));
    else await this.track(payload, trust === 'believed');
    return 'accepted';
  }

  private track({ uid, report }: CallbackPayload, isAuthenticated: boolean): Promise<void> | void {
    const { options, tracker } = this.account;
    const alwaysConfirm = options.callback.confirm === 'always';
    if (isAuthenticated && report && !alwaysConfirm)
      return this.afterPendingSends(uid, () => tracker.observe(report, 'callback', false));
    // A callback without a readable status is a hint, even with the right secret.
    const evenIfUnknown = isAuthenticated && alwaysConfirm;
    if (evenIfUnknown || tracker.follows(uid))
      return this.afterPendingSends(uid, () => tracker.requestPoll(uid, evenIfUnknown));
    if (this.waitingHints >= MAX_WAITING_HINTS) return undefined;
    this.waitingHints++;
    return this.afterPendingSends(uid, () => {
      this.waitingHints--;
      return tracker.requestPoll(uid, false);
    });
  }

  /** Runs `act` after the pending sends, if the message may be one of them. */
  private afterPendingSends(uid: string, act: () => Promise<void> | void): Promise<void> | void {
    const { tracker, pendingSends, isDurable, logger } = this.account;
    if (tracker.follows(uid)) return act();
    const done = new Promise<void>((resolve, reject) => {
      pendingSends.settled(PENDING_SENDS_WAIT_MS, () => void Promise.resolve(act()).then(resolve, reject));
    });
    if (isDurable) return done;
    // Without a store there is nothing that the answer could confirm to the provider, so it does not wait.
    done.catch((error: unknown) => logger.warn(`Dropped a callback for ${redact(uid)}: ${redact(messageOf(error))}`));
    return undefined;
  }
}
