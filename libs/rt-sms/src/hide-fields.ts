/**
 * Hides the fields of an object that holds secrets, except `shown`, from code that lists fields: a logger, a copy
 * (`{ ...sms }`), `inspect` with `customInspect: false`. Private fields (`#name`) are not used, because they fail in the proxies
 * of mocks.
 */
export function hideFields(holder: object, shown: readonly string[] = []): void {
  for (const name of Object.keys(holder))
    if (!shown.includes(name)) Object.defineProperty(holder, name, { enumerable: false });
}
