/**
 * The one place that makes foreign text fit for errors, logs and spans: secrets that are known are cut out, whatever looks
 * like a phone number is masked, control characters go, and it stays on one line of bearable length.
 */
export function redact(text: string, secrets: readonly string[] = []): string {
  let safe = text;
  for (const secret of secrets) if (secret.length > 3) safe = safe.replaceAll(secret, '***');
  return safe
    .replace(/\d{9,}/g, (digits) => `${digits.slice(0, 4)}*****${digits.slice(-2)}`)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu, ' ')
    .slice(0, 300);
}

/** A stand-in for a foreign error that keeps its name, code and redacted message, and nothing else of it. */
export function safeCause(error: unknown, secrets: readonly string[] = []): Error {
  const { name, code, message } =
    error instanceof Error
      ? (error as Error & { code?: unknown })
      : { name: 'Error', code: undefined, message: String(error) };
  const safe = new Error(redact(message, secrets));
  safe.name = redact(name, secrets);
  // Its stack would be that of this function, and says nothing.
  safe.stack = `${safe.name}: ${safe.message}`;
  return typeof code === 'string' ? Object.assign(safe, { code: redact(code, secrets) }) : safe;
}
