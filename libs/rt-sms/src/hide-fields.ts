/**
 * Makes the fields of an object that holds secrets, all but `shown`, invisible to what lists fields: a logger, a copy
 * (`{ ...sms }`), `inspect` with `customInspect: false`. Private fields (`#name`) would break in the proxies of mocks.
 */
export function hideFields(holder: object, shown: readonly string[] = []): void {
  for (const name of Object.keys(holder))
    if (!shown.includes(name)) Object.defineProperty(holder, name, { enumerable: false });
}
