import type { MetadataJson } from 'libphonenumber-js/core';

export { parsePhoneNumberFromString } from 'libphonenumber-js/core';
export declare const metadata: MetadataJson;
