import type { Reason } from '../protocol.js';

/** Values that the rows put into their requests. */
export interface Values {
  readonly login: string;
  readonly password: string;
  /** A login and a password that the gateway does not know, new for each run. */
  readonly wrongLogin: string;
  readonly wrongPassword: string;
  /** Number of `--send`, digits only; in a row without `sends` it is never used. */
  readonly number: string;
  readonly shortcode: string;
  readonly text: string;
}

/** Credentials in the Authorization header. */
export type HeaderCredentials = 'right' | 'wrong password' | 'wrong login' | 'none';

export interface Row {
  /** Names the row in reports. */
  readonly name: string;
  /** Sections of the provider's document. */
  readonly sections: string;
  readonly method: 'GET' | 'POST' | 'PUT';
  /** Uid below the address of the API; `sent` is the uid of the message of an earlier row. */
  readonly uid?: string;
  readonly credentials: HeaderCredentials;
  /** Body of the request: JSON, or bytes as they are. */
  readonly body?: ((values: Values) => object) | Buffer;
  /** The reasons of §1.6.1 that the answer may give, with their HTTP status; or what the answer must be instead. */
  readonly expected: readonly Reason[] | 'accepted' | 'described' | 'refused';
  /** Further reasons that are right without `--shortcode`, because the sender name is then not agreed. */
  readonly withoutShortcode?: readonly Reason[];
  /** `'never'`: cannot send a message; `'paid'`: sends one; `'if accepted'`: sends one if the gateway accepts it wrongly. */
  readonly sends: 'never' | 'paid' | 'if accepted';
  /** Only for numbers of Russia. */
  readonly russian?: true;
}

const ABSENT = 'message-id-000000000000';
const FIELDS: readonly Reason[] = [
  'invalid_request_body',
  'invalid_field_msisdn',
  'invalid_field_shortcode',
  'invalid_field_text',
];
/** The reasons of §1.6.1 with the HTTP status 200. */
const PROCESSED: readonly Reason[] = [...FIELDS, 'invalid_source_address', 'system_error', 'transaction_not_found'];

const status = { method: 'GET', uid: ABSENT, credentials: 'right', sends: 'never' } as const;
const send = { method: 'POST', credentials: 'right', sends: 'never' } as const;
const message = ({ number, shortcode, text }: Values) => ({ msisdn: number, shortcode, text });

/**
 * What the document says, one request a row. The requests of rows that never send lack a number at which a message could
 * arrive. The first row also shows whether the credentials and the address of this machine are right.
 */
export const ROWS: readonly Row[] = [
  { ...status, name: 'status of an unknown uid', sections: '§2.2.1, §1.6.1', expected: ['transaction_not_found'] },
  {
    ...status,
    name: 'status of an unknown uid of digits',
    sections: '§2.2.1, §1.6.1',
    uid: 'message-id-0000000',
    expected: ['transaction_not_found'],
  },
  // The document has no reason of its own for a malformed uid.
  { ...status, name: 'status of a malformed uid', sections: '§1.5, §1.6', uid: '0000000', expected: PROCESSED },
  {
    ...status,
    name: 'status without credentials',
    sections: '§1.2, §1.6.1',
    credentials: 'none',
    expected: ['auth_required'],
  },
  {
    ...status,
    name: 'status with a wrong password',
    sections: '§1.2, §1.6.1',
    credentials: 'wrong password',
    expected: ['wrong_credentials'],
  },
  {
    ...status,
    name: 'status with a wrong login',
    sections: '§1.2, §1.6.1',
    credentials: 'wrong login',
    expected: ['wrong_credentials'],
  },
  // §1.5: a request without valid credentials is not processed, so its body does not matter.
  {
    ...send,
    name: 'send without credentials',
    sections: '§1.5, §1.6.1',
    credentials: 'none',
    body: () => ({}),
    expected: ['auth_required'],
  },
  {
    ...send,
    name: 'send with a wrong password',
    sections: '§1.5, §1.6.1',
    credentials: 'wrong password',
    body: () => ({}),
    expected: ['wrong_credentials'],
  },
  {
    ...send,
    name: 'send with a wrong password in the body',
    sections: '§2.1.1, §1.6.1',
    credentials: 'none',
    body: ({ login, wrongPassword }) => ({ login, pass: wrongPassword }),
    expected: ['wrong_credentials'],
  },
  {
    ...send,
    name: 'send of an empty body',
    sections: '§1.6.1',
    body: Buffer.of(),
    expected: ['invalid_request_body'],
  },
  {
    ...send,
    name: 'send of a body that is not JSON',
    sections: '§1.1, §1.6.1',
    body: Buffer.from('{"msisdn":'),
    expected: ['invalid_request_body'],
  },
  {
    ...send,
    name: 'send of a body that is not UTF-8',
    sections: '§1.1, §1.6.1',
    body: Buffer.from('{"text":"\xff\xfe"}', 'latin1'),
    expected: FIELDS,
  },
  { ...send, name: 'send without any field', sections: '§2.1.1, §1.6.1', body: () => ({}), expected: FIELDS },
  {
    ...send,
    name: 'send of credentials in the body only',
    sections: '§2.1.1, §1.6.1',
    credentials: 'none',
    body: ({ login, password }) => ({ login, pass: password }),
    expected: FIELDS,
  },
  {
    ...send,
    name: 'send to letters',
    sections: '§2.1.1, §1.6.1',
    body: ({ shortcode, text }) => ({ msisdn: 'number', shortcode, text }),
    expected: ['invalid_field_msisdn'],
    withoutShortcode: ['invalid_field_shortcode'],
  },
  {
    ...send,
    name: 'send to an empty number',
    sections: '§2.1.1, §1.6.1',
    body: ({ shortcode, text }) => ({ msisdn: '', shortcode, text }),
    expected: ['invalid_field_msisdn'],
    withoutShortcode: ['invalid_field_shortcode'],
  },
  {
    ...send,
    name: 'send without a number',
    sections: '§2.1.1, §1.6.1',
    body: ({ shortcode, text }) => ({ shortcode, text }),
    expected: ['invalid_field_msisdn', 'invalid_request_body'],
    withoutShortcode: ['invalid_field_shortcode'],
  },
  {
    name: 'GET at the address of a send',
    sections: '§1.4, §2.1.1',
    method: 'GET',
    credentials: 'right',
    expected: 'refused',
    sends: 'never',
  },
  {
    ...send,
    name: 'PUT at the address of a send',
    sections: '§1.4',
    method: 'PUT',
    body: () => ({}),
    expected: 'refused',
  },
  {
    ...send,
    name: 'POST at the address of a status',
    sections: '§1.4, §2.2.1',
    uid: ABSENT,
    body: () => ({}),
    expected: 'refused',
  },
  {
    ...send,
    name: 'send of a text that is null',
    sections: '§1.6.1',
    body: (values) => ({ ...message(values), text: null }),
    expected: ['invalid_field_text'],
    sends: 'if accepted',
  },
  {
    ...send,
    name: 'send of an empty text',
    sections: '§1.6.1',
    body: (values) => ({ ...message(values), text: '' }),
    expected: ['invalid_field_text'],
    sends: 'if accepted',
  },
  {
    ...send,
    name: 'send without a text',
    sections: '§2.1.1, §1.6.1',
    body: (values) => ({ ...message(values), text: undefined }),
    expected: ['invalid_field_text', 'invalid_request_body'],
    sends: 'if accepted',
  },
  {
    ...send,
    name: 'send with an empty sender name',
    sections: '§2.1.1, §1.6.1',
    body: (values) => ({ ...message(values), shortcode: '' }),
    expected: ['invalid_field_shortcode'],
    sends: 'if accepted',
  },
  {
    ...send,
    name: 'send without a sender name',
    sections: '§2.1.1, §1.6.1',
    body: (values) => ({ ...message(values), shortcode: undefined }),
    expected: ['invalid_field_shortcode', 'invalid_request_body'],
    sends: 'if accepted',
  },
  {
    ...send,
    name: 'send to a number with +',
    sections: '§2.1.1, §1.6.1',
    body: (values) => ({ ...message(values), msisdn: `+${values.number}` }),
    expected: ['invalid_field_msisdn'],
    sends: 'if accepted',
  },
  {
    ...send,
    name: 'send to a number with 8 instead of 7',
    sections: '§2.1.1, §1.6.1',
    body: (values) => ({ ...message(values), msisdn: `8${values.number.slice(1)}` }),
    expected: ['invalid_field_msisdn'],
    sends: 'if accepted',
    russian: true,
  },
  { ...send, name: 'send', sections: '§2.1', body: message, expected: 'accepted', sends: 'paid' },
  { ...status, name: 'status of the message', sections: '§2.2.2', uid: 'sent', expected: 'described' },
  {
    ...send,
    name: 'send to a number that is a JSON number',
    sections: '§1.4, §2.1.2',
    body: (values) => ({ ...message(values), msisdn: Number(values.number) }),
    expected: 'accepted',
    sends: 'paid',
  },
  {
    ...send,
    name: 'send with the credentials in the body',
    sections: '§2.1.1, §2.1.2',
    credentials: 'none',
    body: (values) => ({ login: values.login, pass: values.password, ...message(values) }),
    expected: 'accepted',
    sends: 'paid',
  },
];

/** The rows that can be run: those that may send a message, or that need one, only with a number. */
export function rowsFor(number: string | undefined): readonly Row[] {
  if (number === undefined) return ROWS.filter(({ sends, uid }) => sends === 'never' && uid !== 'sent');
  return ROWS.filter(({ russian }) => !russian || /^7\d{10}$/.test(number));
}
