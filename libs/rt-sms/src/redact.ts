import { isNativeError } from 'node:util/types';

/**
 * The one place that makes foreign text fit for errors, logs and spans: secrets that are known are cut out, whatever looks
 * like a phone number is masked, control characters go, and it stays on one line of bearable length.
 */
export function redact(text: string, secrets: readonly string[] = []): string {
  let safe = text;
  // The longest first: a shorter one may be a part of it.
  for (const secret of secrets.toSorted((a, b) => b.length - a.length)) {
    if (secret.length > 3) safe = safe.replaceAll(secret, '***').replaceAll(JSON.stringify(secret).slice(1, -1), '***');
  }
  return (
    safe
      .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu, ' ')
      // As people write them, too; dots would make one of an IP address.
      .replace(/\d(?:[\p{Zs}\p{Pd}()]{0,2}\d){8,}/gu, (number) =>
        number.replace(/\D/g, '').replace(/^(\d{4})\d+(\d\d)$/, '$1*****$2'),
      )
      .slice(0, 300)
      .toWellFormed()
  );
}

// An error of Node's own is no `instanceof Error` where the code runs in a context of its own, as it does under Jest.
export const isError = (thrown: unknown): thrown is Error => thrown instanceof Error || isNativeError(thrown);

/** The message of whatever was thrown, as it is; never throws itself. */
export function messageOf(thrown: unknown): string {
  try {
    return String(isError(thrown) ? thrown.message : thrown);
  } catch {
    return 'something that has no text';
  }
}

/** Name and code of whatever was thrown, as they are; never throws itself. */
function nameAndCodeOf(thrown: unknown): { name?: unknown; code?: unknown } {
  try {
    const { name, code } = isError(thrown) ? (thrown as Error & { code?: unknown }) : {};
    return { name, code };
  } catch {
    return {};
  }
}

/**
 * A stand-in for a foreign error that keeps its name, code and redacted message, and nothing else of it; never throws
 * itself, whatever it is given.
 */
export function safeCause(error: unknown, secrets: readonly string[] = []): Error {
  const { name, code } = nameAndCodeOf(error);
  const safe = new Error(redact(messageOf(error), secrets));
  safe.name = typeof name === 'string' ? redact(name, secrets) : 'Error';
  // Its stack would be that of this function, and says nothing.
  safe.stack = `${safe.name}: ${safe.message}`;
  return typeof code === 'string' ? Object.assign(safe, { code: redact(code, secrets) }) : safe;
}
