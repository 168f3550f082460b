import type { Logger } from '@nestjs/common';
import { typeName } from '../message/msisdn.js';
import { text } from '../options/option-rules.js';
import { PasswordFileError, passwordPath } from '../options/password-file.js';
import type { ResolvedOptions } from '../options/resolve-options.js';
import { RtSmsAuthError, RtSmsConfigError } from '../rt-sms.errors.js';

/** Milliseconds for which a read may take. */
const READ_MS = 5_000;
/** Milliseconds between two reads, unless the first one helped. */
const PAUSE_MS = 5_000;
/** Milliseconds from a rejection to the read: the gateway and the source of the password rarely change in the same moment. */
const SETTLE_MS = 500;
/** Number of passwords, the current one included, that no string of the gateway may contain. */
const MAX_REMEMBERED = 16;

type PasswordOptions = Pick<ResolvedOptions, 'account' | 'login' | 'password'> & {
  passwordVariable?: string | undefined;
};

/** Value of a Basic `Authorization` header. */
export const basicAuthorization = (login: string, password: string): string =>
  `Basic ${Buffer.from(`${login}:${password}`).toString('base64')}`;

/** True if another password may help: the gateway rejects the password, and not the address of this server. */
export const rejectsPassword = (error: unknown): boolean =>
  error instanceof RtSmsAuthError &&
  (error.reason === 'wrong_credentials' || (error.httpStatus === 401 && error.reason !== 'wrong_ip'));

/**
 * Password of an account: a constant, or the result of the application's function. The function is called at the start, and
 * again after the gateway has rejected the password, at most once in 5 s and once for all rejected requests.
 */
export class AccountPassword {
  /** Incremented with each new password. */
  version = 0;
  /** Value of the Basic `Authorization` header. */
  basic = '';
  /** Values that must not appear in any error: the current password and former ones. */
  secrets: readonly string[] = [];
  private value: string | undefined;
  private logger: Logger | undefined;
  /** The read in progress, with the wait before it. */
  private reading: Promise<void> | undefined;
  private readableAt = 0;
  /** True until the gateway has accepted the current password. */
  private isUnproven = false;
  /** The last warning, which is not repeated. */
  private warned: string | undefined;

  constructor(private readonly options: PasswordOptions) {
    if (typeof options.password === 'string') this.set(options.password);
  }

  /** The current password; undefined before `open`. */
  get current(): string | undefined {
    return this.value;
  }

  /** The wait for another password, while the gateway rejects the current one. */
  get refreshing(): Promise<void> | undefined {
    return this.reading;
  }

  /**
   * Reads the password for the first time.
   * @throws RtSmsConfigError if it cannot be read
   */
  async open(logger: Logger): Promise<void> {
    this.logger = logger;
    if (typeof this.options.password === 'string') return;
    const { account, passwordVariable } = this.options;
    try {
      this.set(await this.read());
    } catch (error) {
      const variable = passwordVariable === undefined ? '' : `${passwordVariable}: `;
      throw new RtSmsConfigError([`password: ${variable}${(error as UnreadableError).message}`], account);
    }
  }

  /**
   * Called after the gateway has rejected the password with the version `used`. Resolves to true if there is another one.
   * Never rejects.
   */
  async refresh(used: number): Promise<boolean> {
    if (this.version === used) await (this.reading ?? this.begin(SETTLE_MS));
    return this.version !== used;
  }

  /** Called after the gateway has accepted the password with the version `used`. */
  confirm(used: number): void {
    if (!this.isUnproven || used !== this.version) return;
    this.isUnproven = false;
    // The last read helped, so the next change of the password need not wait.
    this.readableAt = 0;
  }

  /** Reads every 5 s, and calls `onChange` after each change. The returned function ends this. */
  watch(onChange: () => void): () => void {
    if (typeof this.options.password === 'string') return () => undefined;
    let timer: NodeJS.Timeout | undefined;
    let isEnded = false;
    const wait = () => {
      const { readableAt } = this;
      timer = setTimeout(look, Math.max(0, readableAt - performance.now()), readableAt).unref();
    };
    const look = (dueAt: number) => {
      const { version } = this;
      // A timer may fire a fraction of a millisecond early.
      void Promise.resolve(this.reading ?? this.begin(0, dueAt)).then(() => {
        if (isEnded) return;
        if (this.version !== version) onChange();
        wait();
      });
    };
    wait();
    return () => {
      isEnded = true;
      clearTimeout(timer);
    };
  }

  /** Starts a read, unless it is too early for the next one. */
  private begin(delayMs: number, now = performance.now()): Promise<void> | undefined {
    if (typeof this.options.password === 'string' || now < this.readableAt) return undefined;
    return (this.reading = this.reread(delayMs).finally(() => (this.reading = undefined)));
  }

  private async reread(delayMs: number): Promise<void> {
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs).unref());
    this.readableAt = performance.now() + PAUSE_MS;
    try {
      const value = await this.read();
      this.warned = undefined;
      if (value === this.value) return;
      this.set(value);
      this.isUnproven = true;
      this.logger?.log('The password has changed: the new one is in use');
    } catch (error) {
      const { message } = error as UnreadableError;
      if (message !== this.warned)
        this.logger?.warn(`The password could not be read again, and the former one stays in use: ${message}`);
      this.warned = message;
    }
  }

  private set(value: string): void {
    const { login } = this.options;
    this.value = value;
    this.version++;
    this.basic = basicAuthorization(login, value);
    const own = [value, this.basic.slice('Basic '.length)];
    this.secrets = [...own, ...this.secrets].slice(0, own.length * MAX_REMEMBERED);
  }

  /** @throws UnreadableError whose message never contains the value, nor the message of a foreign error */
  private async read(): Promise<string> {
    const { password } = this.options;
    const path = passwordPath(password);
    const subject = path === undefined ? 'the function' : path;
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new UnreadableError(`did not return a value within ${READ_MS} ms`)), READ_MS);
    });
    // Only the start waits for this timer, not the end of the process.
    if (this.value !== undefined) timer!.unref();
    let value: unknown;
    try {
      value = await Promise.race([(async () => (typeof password === 'string' ? password : password()))(), limit]);
    } catch (error) {
      throw new UnreadableError(`${subject} ${faultOf(error)}`);
    } finally {
      clearTimeout(timer);
    }
    if (text(value)) return value;
    throw new UnreadableError(
      `${subject} ${problemOf(value)}; it must be a non-empty string without control characters`,
    );
  }
}

/** Why a password cannot be used. */
class UnreadableError extends Error {}

/** The message of a foreign error is left out, because it may contain a password or a token. */
function faultOf(error: unknown): string {
  if (error instanceof UnreadableError || error instanceof PasswordFileError) return error.message;
  const { name, code } = (typeof error === 'object' && error !== null ? error : {}) as {
    name?: unknown;
    code?: unknown;
  };
  const known = [name, code].filter((word) => typeof word === 'string' && /^[A-Z][A-Za-z0-9_]{0,39}$/.test(word));
  return `threw ${known.length > 0 ? known.join(' ') : 'a value'} (its message is hidden, because it may contain the password)`;
}

function problemOf(value: unknown): string {
  if (typeof value !== 'string') return `returned ${typeName(value)}`;
  if (value === '') return 'returned an empty string';
  if (/[\r\n]$/.test(value)) return 'returned a string that ends in a line break (trim it)';
  return 'returned a string with a control character or an unpaired surrogate';
}
