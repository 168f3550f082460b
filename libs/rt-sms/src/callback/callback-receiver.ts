import type { Logger } from '@nestjs/common';
import { PENDING_SENDS_WAIT_MS, type DeliveryTracker } from '../delivery/engine.js';
import type { InFlight } from '../delivery/in-flight.js';
import { readCallback, type CallbackWords } from '../gateway/wire.js';
import { messageOf, redact } from '../redact.js';
import type { ResolvedOptions } from '../options/resolve-options.js';
import type { Telemetry } from '../telemetry.js';
import { Authenticity } from './authenticity.js';

/** At most this many hints wait for sends in flight, because anybody can send hints. */
const MAX_WAITING_HINTS = 1_000;

/** Decides what of a callback (§3.1) is believed, and gives it to the tracker after the sends that it may have overtaken. */
export class CallbackReceiver {
  private readonly authenticity: Authenticity;
  private waitingHints = 0;

  constructor(
    private readonly options: ResolvedOptions,
    /** No status that shares anything with these is passed on. */
    private readonly secrets: readonly string[],
    private readonly tracker: DeliveryTracker,
    /** The tracker has a store: a callback is answered once it is stored. */
    private readonly isDurable: boolean,
    private readonly inFlight: InFlight,
    private readonly telemetry: Telemetry,
    private readonly logger: Logger,
  ) {
    this.authenticity = new Authenticity(options.callback);
  }

  /** @throws RtSmsOverloadedError, RtSmsTimeoutError if the engine's store did not take a believed callback */
  async receive(
    query: Record<string, unknown>,
    request: { secret?: string | undefined; ip?: string | undefined },
  ): Promise<'accepted' | 'refused'> {
    const trust = this.authenticity.check(request);
    const instruments = this.telemetry.on;
    if (trust === 'refused') {
      instruments?.heard('refused');
      return 'refused';
    }
    const words = readCallback(query, this.secrets);
    if (!words) {
      instruments?.heard('unreadable');
      this.logger.debug('A callback without a readable id was dropped');
    } else if (instruments) await instruments.callback(trust, async () => this.track(words, trust === 'believed'));
    else await this.track(words, trust === 'believed');
    return 'accepted';
  }

  private track({ uid, report }: CallbackWords, isBelieved: boolean): Promise<void> | void {
    const isConfirmed = this.options.callback.confirm === 'always';
    if (isBelieved && report && !isConfirmed)
      return this.afterSends(uid, () => this.tracker.observe(report, 'callback', false));
    // Without a readable status nothing is known that the gateway should confirm: that is a hint, whoever sent it.
    const ask = isBelieved && isConfirmed;
    if (ask || this.tracker.follows(uid)) return this.afterSends(uid, () => this.tracker.hint(uid, ask));
    if (this.waitingHints >= MAX_WAITING_HINTS) return undefined;
    this.waitingHints++;
    return this.afterSends(uid, () => {
      this.waitingHints--;
      return this.tracker.hint(uid, false);
    });
  }

  /** Runs `act` after the sends in flight if the message may be one of them. */
  private afterSends(uid: string, act: () => Promise<void> | void): Promise<void> | void {
    if (this.tracker.follows(uid)) return act();
    const acted = new Promise<void>((resolve, reject) => {
      this.inFlight.settled(PENDING_SENDS_WAIT_MS, () => void Promise.resolve(act()).then(resolve, reject));
    });
    if (this.isDurable) return acted;
    // Nothing is stored that the answer to the provider could confirm.
    acted.catch((error: unknown) =>
      this.logger.warn(`A callback was dropped: ${redact(messageOf(error))}; ${redact(uid)}`),
    );
    return undefined;
  }
}
