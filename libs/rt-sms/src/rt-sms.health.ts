import { defined } from './defined.js';
import { isRtSmsError, RtSmsNotFoundError, type RtSmsRejectedError } from './rt-sms.errors.js';

/** Result of a health check: is the gateway reachable, and does it accept this account from this address? */
export interface RtSmsHealth {
  /** True if the gateway accepts this account from this address. */
  ok: boolean;
  /** Name of the account. */
  account: string;
  /** Cause of `ok: false`: the gateway's reason (§1.6.1), or the stable `code` of the error. */
  reason?: string;
  /** Rules of the send policy that are on, one phrase each. Absent without a rule. */
  policy?: readonly string[];
  /** Duration of the request in milliseconds. */
  latencyMs: number;
  /** Time of the request. */
  checkedAt: Date;
}

const TTL_MS = 30_000;
/** A well-formed uid that is too regular to exist. */
const PROBE_UID = 'message-id-000000000000';

/** Health of one account: a status request for a message that cannot exist. It is free of charge, and cached for 30 s. */
export class AccountHealth {
  private latest: Promise<RtSmsHealth> | undefined;
  private latestUntil = 0;

  constructor(
    private readonly account: string,
    private readonly status: (uid: string) => Promise<unknown>,
    private readonly policy?: readonly string[],
  ) {}

  /** Never rejects with an `RtSmsError`. */
  check(): Promise<RtSmsHealth> {
    if (!this.latest || performance.now() >= this.latestUntil) {
      this.latestUntil = Infinity;
      this.latest = this.measure().finally(() => (this.latestUntil = performance.now() + TTL_MS));
    }
    return this.latest;
  }

  /** Discards the cached result. */
  invalidate(): void {
    this.latestUntil = 0;
  }

  /** Makes the request. */
  probe(): Promise<unknown> {
    return this.status(PROBE_UID);
  }

  private async measure(): Promise<RtSmsHealth> {
    const began = performance.now();
    let reason: string | undefined;
    try {
      await this.probe();
    } catch (error) {
      if (!isRtSmsError(error)) throw error;
      if (!(error instanceof RtSmsNotFoundError)) reason = (error as RtSmsRejectedError).reason ?? error.code;
    }
    const latencyMs = Math.round(performance.now() - began);
    const { account, policy } = this;
    return defined({ ok: reason === undefined, account, reason, policy, latencyMs, checkedAt: new Date() });
  }
}
