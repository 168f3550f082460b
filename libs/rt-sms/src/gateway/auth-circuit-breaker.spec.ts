import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { RtSmsAuthError, RtSmsNotFoundError, RtSmsTimeoutError } from '../rt-sms.errors.js';
import { AuthCircuitBreaker } from './auth-circuit-breaker.js';

const wrongIp = new RtSmsAuthError('wrong_ip', { httpStatus: 403 });
const notFound = new RtSmsNotFoundError('transaction_not_found', { httpStatus: 200 });
const timeout = new RtSmsTimeoutError('late', 'not_sent', {});

describe('AuthCircuitBreaker', () => {
  beforeEach(() => {
    jest.useFakeTimers();
    jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined);
    jest.spyOn(Logger.prototype, 'log').mockImplementation(() => undefined);
  });
  afterEach(() => {
    jest.useRealTimers();
    jest.restoreAllMocks();
  });

  /** A circuit breaker whose probe receives `answer`. */
  function setUp() {
    const it = { answer: wrongIp as Error | undefined, probes: 0, opened: 0 };
    const auth = new AuthCircuitBreaker(async () => {
      it.probes++;
      auth.onOutcome(it.answer);
      if (it.answer) throw it.answer;
    }, new Logger());
    auth.onRestored(() => it.opened++);
    return Object.assign(it, { auth });
  }

  it('opens only when the gateway rejects login, password or address', () => {
    const { auth } = setUp();
    auth.onOutcome(timeout);
    auth.onOutcome(notFound);
    auth.onOutcome();
    expect(auth.error).toBeUndefined();
    auth.onOutcome(wrongIp);
    expect(auth.error).toBe(wrongIp);
  });

  it('logs the problem once, and probes with a pause that doubles up to five minutes', async () => {
    const it = setUp();
    for (let n = 0; n < 100; n++) it.auth.onOutcome(wrongIp);
    expect(Logger.prototype.error).toHaveBeenCalledTimes(1);
    expect(Logger.prototype.error).toHaveBeenCalledWith(expect.stringContaining('IP-адреса клиента'));
    const at: number[] = [];
    const began = Date.now();
    for (let probes = 0; probes < 9; probes = it.probes) {
      await jest.advanceTimersByTimeAsync(1_000);
      if (it.probes > probes) at.push((Date.now() - began) / 1000);
    }
    expect(at).toEqual([5, 15, 35, 75, 155, 315, 615, 915, 1215]);
    expect(Logger.prototype.error).toHaveBeenCalledTimes(1);
  });

  it('closes when the gateway first accepts this process, and starts over with the next rejection', async () => {
    const it = setUp();
    it.auth.onOutcome(wrongIp);
    await jest.advanceTimersByTimeAsync(5_000);
    it.answer = notFound;
    await jest.advanceTimersByTimeAsync(10_000);
    expect(it).toMatchObject({ probes: 2, opened: 1 });
    expect(it.auth.error).toBeUndefined();
    expect(jest.getTimerCount()).toBe(0);
    it.auth.onOutcome(wrongIp);
    await jest.advanceTimersByTimeAsync(5_000);
    expect(it.probes).toBe(3);
  });

  it('closes without waiting for its probe when any other request succeeds', () => {
    const it = setUp();
    it.auth.onOutcome(wrongIp);
    it.auth.onOutcome();
    expect(it).toMatchObject({ probes: 0, opened: 1 });
    expect(jest.getTimerCount()).toBe(0);
  });

  it('stays open and continues to probe while the gateway cannot be reached', async () => {
    const it = setUp();
    it.auth.onOutcome(wrongIp);
    it.answer = timeout;
    await jest.advanceTimersByTimeAsync(5_000);
    expect(it.auth.error).toBe(wrongIp);
    await jest.advanceTimersByTimeAsync(10_000);
    expect(it).toMatchObject({ probes: 2, opened: 0 });
  });

  it('does not probe after close(), regardless of later outcomes', async () => {
    const it = setUp();
    it.auth.onOutcome(wrongIp);
    it.auth.close();
    it.auth.onOutcome(wrongIp);
    expect(jest.getTimerCount()).toBe(0);
    expect(it.probes).toBe(0);
  });

  it('watches the password while the gateway rejects it, and probes at once after a change', async () => {
    const wrongPassword = new RtSmsAuthError('wrong_credentials', { httpStatus: 403 });
    const watching = new Set<() => void>();
    let probes = 0;
    const auth: AuthCircuitBreaker = new AuthCircuitBreaker(
      async () => {
        probes++;
        auth.onOutcome(notFound);
      },
      new Logger(),
      (onChange) => {
        watching.add(onChange);
        return () => watching.delete(onChange);
      },
    );
    auth.onOutcome(wrongIp);
    expect(watching.size).toBe(0);
    auth.onOutcome(wrongPassword);
    auth.onOutcome(wrongPassword);
    expect(watching.size).toBe(1);
    for (const onChange of watching) onChange();
    expect(probes).toBe(1);
    expect(auth.error).toBeUndefined();
    expect(watching.size).toBe(0);
    await jest.advanceTimersByTimeAsync(600_000);
    expect(probes).toBe(1);
    auth.onOutcome(wrongPassword);
    auth.close();
    expect(watching.size).toBe(0);
  });
});
