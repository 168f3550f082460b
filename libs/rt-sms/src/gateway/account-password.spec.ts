import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { AccountPassword } from './account-password.js';

const never = () => new Promise<string>(() => undefined);

describe('AccountPassword', () => {
  const logger = new Logger();
  const warn = jest.spyOn(logger, 'warn');
  beforeEach(() => {
    jest.useFakeTimers();
    warn.mockReset().mockImplementation(() => undefined);
    jest.spyOn(logger, 'log').mockImplementation(() => undefined);
  });
  afterEach(() => jest.useRealTimers());

  const create = (password: string | (() => string | Promise<string>), passwordVariable?: string) =>
    new AccountPassword({ account: 'default', login: 'shop', password, passwordVariable });

  it.each([
    [undefined, 'password: the function did not return a value within 5000 ms'],
    ['RT_SMS_PASSWORD_FILE', 'password: RT_SMS_PASSWORD_FILE: the function did not return a value within 5000 ms'],
  ])('the start fails if the function hangs (variable: %s)', async (variable, problem) => {
    const opened = create(never, variable).open(logger);
    const failed = expect(opened).rejects.toMatchObject({ code: 'RT_SMS_CONFIG', problems: [problem] });
    await jest.advanceTimersByTimeAsync(5_000);
    await failed;
  });

  it('a function that hangs later: one warning, and the former password; a later value is used', async () => {
    let answer: () => Promise<string> = async () => 'first';
    const password = create(() => answer());
    await password.open(logger);
    answer = never;
    const refreshed = password.refresh(1);
    await jest.advanceTimersByTimeAsync(5_500);
    await expect(refreshed).resolves.toBe(false);
    expect(password.current).toBe('first');
    // Not repeated while the same problem remains.
    const again = password.refresh(1);
    await jest.advanceTimersByTimeAsync(6_000);
    await expect(again).resolves.toBe(false);
    expect(warn.mock.calls).toEqual([[expect.stringContaining('did not return a value within 5000 ms')]]);
    answer = async () => 'second';
    const helped = password.refresh(1);
    await jest.advanceTimersByTimeAsync(500);
    await expect(helped).resolves.toBe(true);
    expect(password.current).toBe('second');
  });

  it('is read every 5 s while it is watched, and reports each change', async () => {
    let value = 'first';
    const read = jest.fn(() => value);
    const password = create(read);
    await password.open(logger);
    void password.refresh(1);
    await jest.advanceTimersByTimeAsync(500);
    expect(read).toHaveBeenCalledTimes(2);
    const onChange = jest.fn();
    const unwatch = password.watch(onChange);
    await jest.advanceTimersByTimeAsync(25_000);
    expect(read).toHaveBeenCalledTimes(7);
    expect(onChange).not.toHaveBeenCalled();
    value = 'second';
    await jest.advanceTimersByTimeAsync(5_000);
    expect(onChange).toHaveBeenCalledTimes(1);
    unwatch();
    await jest.advanceTimersByTimeAsync(60_000);
    expect(read).toHaveBeenCalledTimes(8);
  });

  it('keeps the last 16 passwords among the secrets', async () => {
    let reads = 0;
    const password = create(() => `password-${reads++}`);
    await password.open(logger);
    for (let n = 1; n < 20; n++) {
      const refreshed = password.refresh(n);
      await jest.advanceTimersByTimeAsync(5_500);
      await expect(refreshed).resolves.toBe(true);
    }
    expect(password.secrets).toHaveLength(2 * 16);
    expect(password.secrets).toContain('password-19');
    expect(password.secrets).toContain('password-4');
    expect(password.secrets).toContain(btoa('shop:password-4'));
  });

  it('a constant is never read again', async () => {
    const password = create('constant');
    await password.open(logger);
    await expect(password.refresh(1)).resolves.toBe(false);
    const onChange = jest.fn();
    password.watch(onChange)();
    await jest.advanceTimersByTimeAsync(60_000);
    expect({ current: password.current, version: password.version }).toEqual({ current: 'constant', version: 1 });
    expect(onChange).not.toHaveBeenCalled();
  });
});
