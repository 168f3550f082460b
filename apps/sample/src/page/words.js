/** All texts of the page, in English and Russian. */

/**
 * Formats a number in a language, with the matching form of a noun: "1 row", "2 rows"; «1 строка», «2 строки»,
 * «5 строк».
 * @param {string} language
 */
function counting(language) {
  const rules = new Intl.PluralRules(language);
  const numbers = new Intl.NumberFormat(language);
  /**
   * @param {number} n
   * @param {Partial<Record<Intl.LDMLPluralRule, string>> & { other: string }} [forms]
   */
  return (n, forms) => (forms ? `${numbers.format(n)} ${forms[rules.select(n)] ?? forms.other}` : numbers.format(n));
}
const en = counting('en');
const ru = counting('ru');

/** @typedef {Record<string, string | ((...values: any[]) => string)>} Group */

const EN = {
  otherLanguage: 'Русский',
  otherLang: 'ru',
  title: 'Send SMS',
  live: 'live',
  lostLine: 'reconnecting…',
  links: 'More of this application',
  inbox: 'Open the inbox',
  queues: 'Queues',
  signIn: 'Sign in',
  docs: 'API',
  health: 'Health',
  metrics: 'Metrics',
  simulated: 'The gateway is simulated: no SMS leaves this machine, and what you send appears in the inbox.',
  real: 'Messages go out through a real account, and are paid for.',
  staging: (/** @type {number} */ entries, /** @type {readonly string[]} */ starts) =>
    `Staging mode: messages go only to the numbers of a list (${en(entries, { one: 'entry', other: 'entries' })}: ${starts.map((start) => `${start}…`).join(', ')}). All other numbers are refused.`,
  compose: 'What to send',
  one: 'One message',
  many: 'Many, from a CSV',
  number: 'Number',
  sender: 'Sender',
  text: 'Text',
  count: (/** @type {number} */ characters, /** @type {number} */ limit, /** @type {number} */ segments) =>
    `${en(characters)} / ${en(limit)} · ${en(segments)} SMS`,
  gsm7: 'GSM 7-bit',
  ucs2: 'UCS-2',
  gsm7Title: 'Every character is in the alphabet of GSM 03.38: 160 in one SMS, 153 in each of several',
  ucs2Title: 'At least one character is outside of GSM 03.38: 70 in one SMS, 67 in each of several',
  costly: (/** @type {string} */ names) => `70 characters in one SMS instead of 160, because of: ${names}`,
  characters: /** @type {Group} */ ({
    apostrophe: 'curly apostrophe',
    quote: 'curly quote',
    dash: 'long dash',
    ellipsis: 'ellipsis',
    emoji: 'emoji',
    space: 'non-breaking space',
    tab: 'tab',
    letter: 'Cyrillic letter',
    cyrillic: 'Cyrillic letters',
    others: 'and others',
  }),
  send: 'Send',
  sending: 'Sending…',
  messages: 'Messages',
  empty: 'Nothing was sent yet. What you send appears here, and its status changes as it becomes known.',
  older: (/** @type {number} */ n) => `The newest ${en(n, { one: 'message is', other: 'messages are' })} shown.`,
  queue: (/** @type {number} */ waiting, /** @type {number} */ active, /** @type {number} */ followed) =>
    `Queue: ${en(waiting)} waiting, ${en(active)} being sent, ${en(followed)} followed`,
  statusOf: 'Status',
  segmentsOf: (/** @type {number} */ n) => `${en(n)} SMS`,
  toDo: 'What to do:',
  status: /** @type {Group} */ ({
    queued: 'queued',
    sending: 'sending',
    accepted: 'accepted',
    refused: 'refused',
    outcome_unknown: 'perhaps sent',
    delivered: 'delivered',
    awaiting_report: 'on its way',
    failed: 'not delivered',
    rejected: 'rejected',
    insufficient_balance: 'no balance',
    unknown: 'unknown',
    ready: 'ready',
    wrong: 'wrong',
  }),
  outcome: /** @type {Group} */ ({
    not_sent: 'Not sent',
    rejected: 'Rejected by the gateway: not sent',
    unknown: 'It may have been sent',
    none: 'This did not work',
  }),
  advice: /** @type {Group} */ ({
    RT_SMS_VALIDATION: 'Correct the message.',
    RT_SMS_CONNECTION: 'The gateway cannot be reached. Nothing was sent: try again in a moment.',
    RT_SMS_OVERLOADED: 'The application is overloaded right now. Nothing was sent: try again in a moment.',
    RT_SMS_AUTH:
      'The gateway rejects the login, password or IP address. Inform the operator of this application; see Health.',
    NO_ANSWER: 'This application does not answer. Look into the list of messages before you send it again.',
    invalid_field_msisdn: 'The gateway does not accept this number: check it.',
    invalid_field_shortcode: 'Use a sender name that is agreed with the provider.',
    invalid_source_address:
      "This sender is not agreed with the recipient's operator: agree it in the provider's cabinet.",
    invalid_field_text: 'For the gateway the text is empty.',
    system_error: 'A fault of the gateway, which did not save the message. You may send it again.',
    wrong_ip:
      "The address of this server is not in the list in the provider's cabinet. Inform the operator of this application.",
    not_sent: 'Nothing was sent: you may try again.',
    rejected: 'The gateway does not accept this message as it is.',
    unknown: 'Do not send it again blindly: the recipient might get it twice. Ask the recipient, or the provider.',
    none: 'Try again; if it fails again, inform the operator of this application.',
  }),
  /** Advice for a refusal of the send policy, by rule; for a limit the time to wait is known. */
  policyAdvice: /** @type {Group} */ ({
    onlyTo: 'Use a number of the list.',
    maxSegments: 'Shorten the text.',
    countries: 'Use a number of another country.',
    beforeSend: 'Ask the operator of this application.',
    none: 'Try again later.',
  }),
  tryAgain: (/** @type {string} */ when) => `Try again ${when}.`,
  refusedBy: /** @type {Group} */ ({
    onlyTo: 'In staging mode this application sends only to the numbers of a list.',
    countries: 'This application does not send to the country of this number.',
    maxSegments: 'The text takes more SMS than this application allows for one message.',
    perRecipient: 'This number has been sent as many messages as this application allows.',
    perPrefix: 'Numbers like this one have been sent as many messages as this application allows.',
    segmentsPerDay: 'This application has used up its SMS of 24 hours.',
    beforeSend: 'The application has rejected this message.',
    none: 'The rules of this application forbid it.',
  }),
  pasteLabel: 'Rows of number and text; other columns need headings',
  csvExample: 'number;text;sender\n+79990000001;Your order is ready\n+79990000002;"Your code; keep it: 4821";SHOP',
  chooseFile: 'Choose a file…',
  orDrop: 'or drop one here',
  check: 'Check',
  checking: 'Checking…',
  read: (/** @type {number} */ rows, /** @type {number} */ segments) =>
    `${en(rows, { one: 'message', other: 'messages' })}, ${en(segments)} SMS to pay for`,
  wrongRows: (/** @type {number} */ n) =>
    en(n, { one: 'row is wrong and will be left out', other: 'rows are wrong and will be left out' }),
  writtenAs: (/** @type {string} */ encoding, /** @type {string} */ delimiter) =>
    `read as ${encoding}, separated by ${delimiter}`,
  delimiters: /** @type {Group} */ ({ ',': 'commas', ';': 'semicolons', '\t': 'tabs' }),
  firstRows: 'The first messages as they were read',
  row: 'Row',
  what: 'Details',
  sendAll: (/** @type {number} */ n) => `Send ${en(n, { one: 'message', other: 'messages' })}`,
  nothingToSend: 'Nothing can be sent',
  stop: 'Stop',
  another: 'Another file',
  download: 'Download the results',
  progress: 'Progress',
  filter: 'Rows by status',
  rows: 'Rows of the file',
  all: 'all',
  pages: (/** @type {number} */ from, /** @type {number} */ to, /** @type {number} */ total) =>
    `${en(from)}–${en(to)} of ${en(total)}`,
  earlier: 'Earlier rows',
  later: 'Later rows',
  state: /** @type {Group} */ ({
    ready: () => '',
    sending: (done, all) => `${en(done)} of ${en(all)} sent…`,
    stopped: (done, all, outcomes) => `Stopped after ${en(done)} of ${en(all)}: ${outcomes}.`,
    done: (_done, _all, outcomes) => `Finished: ${outcomes}.`,
  }),
  came: /** @type {Group} */ ({
    sent: (n) => `${en(n)} sent`,
    not_delivered: (n) => `${en(n)} not delivered`,
    not_sent: (n) => `${en(n)} not sent`,
    perhaps: (n) => `${en(n)} perhaps sent`,
  }),
  csvProblem: /** @type {Group} */ ({
    empty: 'There are no messages in it.',
    not_text: 'This is not a CSV file. From Excel, save it as "CSV UTF-8".',
    no_separator: 'Number and text must be separated by a comma, a semicolon or a tab.',
    no_columns: 'This is neither a number and a text, nor the names of such columns (msisdn, text).',
    quote: 'A quote (") is opened and never closed, or not where it may be.',
    too_many_rows: 'Too many rows: split the file.',
    none: '',
  }),
  unreadable: 'It could not be read.',
  atRow: (/** @type {number} */ row) => `Row ${en(row)}:`,
  rowProblem: /** @type {Group} */ ({
    columns: 'Put a text that holds the separator or a line break in quotes.',
    msisdn: 'This is no phone number.',
    text: 'The text cannot be sent.',
    shortcode: 'The sender cannot be used.',
    none: '',
  }),
  /** The server's text about a row, by field. */
  rowDetail: /** @type {Group} */ ({
    columns: (message) => `The row ${message.split(';')[0]}.`,
    msisdn: (message) => `Number ${message}`,
    text: 'It is empty, damaged or longer than 255 SMS.',
    shortcode: 'It is empty or holds control characters.',
    none: (message) => message,
  }),
  fieldMissing: /** @type {Group} */ ({
    msisdn: "Enter the recipient's number.",
    text: 'Enter a text.',
    shortcode: 'Enter a sender: no default is set.',
  }),
  /** Texts for a rejected value, by field; without one, the server's text is shown. */
  fieldWrong: /** @type {Group} */ ({
    text: 'The text cannot be sent.',
    shortcode: 'The sender must not hold control characters.',
    none: '',
  }),
  tooLong: (/** @type {number} */ segments, /** @type {number} */ limit) =>
    `The text takes ${en(segments)} SMS, and at most ${en(limit)} can be joined: shorten it.`,
  brokenText: 'The text holds half of a character: delete it, or paste the text again.',
  /** Descriptions by code or HTTP status; without one, the server's text is shown. */
  happened: /** @type {Group} */ ({ none: '' }),
};

/** @type {typeof EN} */
const RU = {
  otherLanguage: 'English',
  otherLang: 'en',
  title: 'Отправка SMS',
  live: 'на связи',
  lostLine: 'соединяюсь…',
  links: 'Другие страницы',
  inbox: 'Открыть входящие',
  queues: 'Очереди',
  signIn: 'Вход',
  docs: 'API',
  health: 'Готовность',
  metrics: 'Метрики',
  simulated: 'Шлюз имитируется: ни одно SMS не уходит с этой машины, а отправленное видно во входящих.',
  real: 'Сообщения уходят через настоящую учётную запись и оплачиваются.',
  staging: (entries, starts) =>
    `Тестовый режим: сообщения уходят только на номера из списка (${ru(entries, { one: 'запись', few: 'записи', many: 'записей', other: 'записи' })}: ${starts.map((start) => `${start}…`).join(', ')}). На остальные номера ничего не отправляется.`,
  compose: 'Что отправить',
  one: 'Одно сообщение',
  many: 'Много, из CSV',
  number: 'Номер',
  sender: 'Отправитель',
  text: 'Текст',
  count: (characters, limit, segments) => `${ru(characters)} / ${ru(limit)} · ${ru(segments)} SMS`,
  gsm7: 'GSM 7 бит',
  ucs2: 'UCS-2',
  gsm7Title: 'Все символы есть в алфавите GSM 03.38: 160 в одном SMS, 153 в каждом из нескольких',
  ucs2Title: 'Хотя бы одного символа нет в GSM 03.38: 70 в одном SMS, 67 в каждом из нескольких',
  costly: (names) => `В одном SMS 70 символов вместо 160, потому что в тексте есть: ${names}`,
  characters: {
    apostrophe: 'типографский апостроф',
    quote: 'типографская кавычка',
    dash: 'тире',
    ellipsis: 'многоточие одним знаком',
    emoji: 'эмодзи',
    space: 'неразрывный пробел',
    tab: 'табуляция',
    letter: 'буква кириллицы',
    cyrillic: 'кириллица',
    others: 'и другие',
  },
  send: 'Отправить',
  sending: 'Отправляю…',
  messages: 'Сообщения',
  empty: 'Пока ничего не отправлено. Сообщения появятся здесь, а статус изменится, как только станет известен.',
  older: (n) =>
    `Показаны последние ${ru(n, { one: 'сообщение', few: 'сообщения', many: 'сообщений', other: 'сообщения' })}.`,
  queue: (waiting, active, followed) =>
    `Очередь: ожидание — ${ru(waiting)}, отправка — ${ru(active)}, отслеживание — ${ru(followed)}`,
  statusOf: 'Статус',
  segmentsOf: (n) => `${ru(n)} SMS`,
  toDo: 'Что делать:',
  status: {
    queued: 'в очереди',
    sending: 'отправляется',
    accepted: 'принято',
    refused: 'отказ',
    outcome_unknown: 'возможно, ушло',
    delivered: 'доставлено',
    awaiting_report: 'в пути',
    failed: 'не доставлено',
    rejected: 'отклонено',
    insufficient_balance: 'нет средств',
    unknown: 'неизвестно',
    ready: 'готово',
    wrong: 'ошибка',
  },
  outcome: {
    not_sent: 'Не отправлено',
    rejected: 'Шлюз отказал: не отправлено',
    unknown: 'Возможно, отправлено',
    none: 'Не получилось',
  },
  advice: {
    RT_SMS_VALIDATION: 'Исправьте сообщение.',
    RT_SMS_CONNECTION: 'Шлюз недоступен. Ничего не отправлено: повторите немного позже.',
    RT_SMS_OVERLOADED: 'Сейчас слишком много работы. Ничего не отправлено: повторите немного позже.',
    RT_SMS_AUTH: 'Логин, пароль или IP-адрес не приняты. Сообщите тому, кто обслуживает приложение; см. «Готовность».',
    NO_ANSWER: 'Приложение не отвечает. Прежде чем отправлять снова, посмотрите в список сообщений.',
    invalid_field_msisdn: 'Шлюз не принимает этот номер: проверьте его.',
    invalid_field_shortcode: 'Укажите имя отправителя, согласованное с провайдером.',
    invalid_source_address: 'Это имя не согласовано с оператором получателя: согласуйте его в кабинете провайдера.',
    invalid_field_text: 'Для шлюза текст пуст.',
    system_error: 'Сбой шлюза, сообщение не сохранено. Можно отправить ещё раз.',
    wrong_ip: 'Адреса этого сервера нет в списке кабинета провайдера. Сообщите тому, кто обслуживает приложение.',
    not_sent: 'Ничего не отправлено: можно повторить.',
    rejected: 'В таком виде шлюз сообщение не примет.',
    unknown: 'Не отправляйте снова вслепую: получатель может получить его дважды. Спросите получателя или провайдера.',
    none: 'Повторите; если не поможет, сообщите тому, кто обслуживает приложение.',
  },
  policyAdvice: {
    onlyTo: 'Укажите номер из списка.',
    maxSegments: 'Сократите текст.',
    countries: 'Укажите номер другой страны.',
    beforeSend: 'Обратитесь к тому, кто обслуживает приложение.',
    none: 'Повторите позже.',
  },
  tryAgain: (when) => `Повторите ${when}.`,
  refusedBy: {
    onlyTo: 'В тестовом режиме приложение отправляет только на номера из списка.',
    countries: 'В страну этого номера приложение не отправляет.',
    maxSegments: 'Текст занимает больше SMS, чем приложение разрешает для одного сообщения.',
    perRecipient: 'На этот номер уже отправлено столько сообщений, сколько разрешает приложение.',
    perPrefix: 'На похожие номера уже отправлено столько сообщений, сколько разрешает приложение.',
    segmentsPerDay: 'Приложение исчерпало свои SMS на сутки.',
    beforeSend: 'Приложение отклонило это сообщение.',
    none: 'Этого не позволяют правила приложения.',
  },
  pasteLabel: 'Строки: номер и текст; другим столбцам нужны заголовки',
  csvExample:
    'телефон;текст;отправитель\n+79990000001;Ваш заказ готов\n+79990000002;"Ваш код; никому не говорите: 4821";SHOP',
  chooseFile: 'Выбрать файл…',
  orDrop: 'или перетащите его сюда',
  check: 'Проверить',
  checking: 'Проверяю…',
  read: (rows, segments) =>
    `${ru(rows, { one: 'сообщение', few: 'сообщения', many: 'сообщений', other: 'сообщения' })}, к оплате ${ru(segments)} SMS`,
  wrongRows: (n) =>
    ru(n, {
      one: 'строка с ошибкой будет пропущена',
      few: 'строки с ошибкой будут пропущены',
      many: 'строк с ошибкой будут пропущены',
      other: 'строки с ошибкой будут пропущены',
    }),
  writtenAs: (encoding, delimiter) => `кодировка ${encoding}, разделитель — ${delimiter}`,
  delimiters: { ',': 'запятая', ';': 'точка с запятой', '\t': 'табуляция' },
  firstRows: 'Первые сообщения, как они прочитаны',
  row: 'Строка',
  what: 'Подробности',
  sendAll: (n) => `Отправить ${ru(n, { one: 'сообщение', few: 'сообщения', many: 'сообщений', other: 'сообщения' })}`,
  nothingToSend: 'Отправлять нечего',
  stop: 'Остановить',
  another: 'Другой файл',
  download: 'Скачать результаты',
  progress: 'Ход отправки',
  filter: 'Строки по статусу',
  rows: 'Строки файла',
  all: 'все',
  pages: (from, to, total) => `${ru(from)}–${ru(to)} из ${ru(total)}`,
  earlier: 'Предыдущие строки',
  later: 'Следующие строки',
  state: {
    ready: () => '',
    sending: (done, all) => `Отправлено ${ru(done)} из ${ru(all)}…`,
    stopped: (done, all, outcomes) => `Остановлено после ${ru(done)} из ${ru(all)}: ${outcomes}.`,
    done: (_done, _all, outcomes) => `Готово: ${outcomes}.`,
  },
  came: {
    sent: (n) => `отправлено ${ru(n)}`,
    not_delivered: (n) => `не доставлено ${ru(n)}`,
    not_sent: (n) => `не отправлено ${ru(n)}`,
    perhaps: (n) => `возможно, отправлено ${ru(n)}`,
  },
  csvProblem: {
    empty: 'В нём нет сообщений.',
    not_text: 'Это не CSV. В Excel сохраните файл как «CSV UTF-8».',
    no_separator: 'Номер не отделён от текста ни запятой, ни точкой с запятой, ни табуляцией.',
    no_columns: 'Это не номер и текст и не названия таких столбцов (телефон, текст).',
    quote: 'Кавычка (") открыта и не закрыта или стоит не на месте.',
    too_many_rows: 'Слишком много строк: разделите файл.',
    none: '',
  },
  unreadable: 'Его не удалось прочитать.',
  atRow: (row) => `Строка ${ru(row)}:`,
  rowProblem: {
    columns: 'Текст с разделителем или переносом строки заключите в кавычки.',
    msisdn: 'Это не номер телефона.',
    text: 'Такой текст отправить нельзя.',
    shortcode: 'Такого отправителя указать нельзя.',
    none: '',
  },
  rowDetail: {
    columns: 'В строке не столько столбцов, сколько в первой.',
    msisdn: 'Укажите его с «+» и кодом страны: +7 927 000-00-01.',
    text: 'Он пуст, повреждён или длиннее 255 SMS.',
    shortcode: 'Имя пусто или содержит служебные символы.',
    none: (message) => message,
  },
  fieldMissing: {
    msisdn: 'Укажите номер получателя.',
    text: 'Введите текст.',
    shortcode: 'Укажите отправителя: имя по умолчанию не задано.',
  },
  fieldWrong: {
    msisdn:
      'Это не номер телефона, или его можно прочесть по-разному. Укажите его с «+» и кодом страны: +7 927 000-00-01.',
    text: 'Такой текст отправить нельзя.',
    shortcode: 'Имя отправителя не может содержать служебные символы.',
    none: '',
  },
  tooLong: (segments, limit) =>
    `Текст занимает ${ru(segments)} SMS, а склеить можно не больше ${ru(limit)}: сократите его.`,
  brokenText: 'В тексте есть половина символа: удалите её или вставьте текст заново.',
  happened: {
    RT_SMS_VALIDATION: 'Сообщение составлено неверно.',
    RT_SMS_CONNECTION: 'Не удалось соединиться со шлюзом.',
    RT_SMS_OVERLOADED: 'Очередь переполнена, хранилище недоступно или приложение завершает работу.',
    RT_SMS_TIMEOUT: 'Шлюз не ответил вовремя.',
    RT_SMS_ABORTED: 'Отправка была прервана.',
    RT_SMS_REJECTED: 'Шлюз отклонил запрос.',
    RT_SMS_AUTH: 'Шлюз не принял логин, пароль или адрес.',
    RT_SMS_NOT_FOUND: 'Шлюз не знает такого сообщения.',
    RT_SMS_UNEXPECTED_RESPONSE: 'Ответ шлюза не удалось разобрать, или соединение оборвалось.',
    403: 'Страница открыта не с того адреса.',
    404: 'Этот файл больше не хранится: проверьте его заново.',
    413: 'Файл слишком большой: разделите его.',
    500: 'Внутренняя ошибка приложения.',
    none: '',
  },
};

const KEPT_AS = 'sample.language';
let language = localStorage.getItem(KEPT_AS) ?? (navigator.language.startsWith('ru') ? 'ru' : 'en');

export const languageNow = () => language;
const words = () => (language === 'ru' ? RU : EN);

/**
 * A text by its key, or one of a group: `t('status', 'delivered')`. Functions get the values. An unknown name gives the text
 * `none` of the group.
 * @param {keyof typeof EN} key
 * @param {...any} values
 * @returns {string}
 */
export function t(key, ...values) {
  const word = words()[key];
  if (typeof word === 'function') return /** @type {(...values: any[]) => string} */ (word)(...values);
  if (typeof word === 'string') return word;
  const [name, ...rest] = values;
  const chosen = word[name] ?? word['none'] ?? String(name);
  return typeof chosen === 'function' ? chosen(...rest) : chosen;
}

/**
 * Advice for an error: by the gateway's reason, else by the code, else by the outcome.
 * @param {import('./dom.js').Failure} error
 */
export function whatToDo({ reason = '', code = '', outcome = '', rule, retryAfterMs }) {
  if (code === 'RT_SMS_POLICY')
    return retryAfterMs === undefined ? t('policyAdvice', rule ?? '') : t('tryAgain', inTime(retryAfterMs));
  const { advice } = words();
  return String(advice[reason] ?? advice[code] ?? advice[outcome] ?? advice['none']);
}

/**
 * Description of an error in the language of the page if it has one, else the server's text.
 * @param {{ code?: string; statusCode?: number; rule?: string; message?: string }} error
 */
export const happened = ({ code, statusCode, rule, message = '' }) =>
  code === 'RT_SMS_POLICY' ? t('refusedBy', rule ?? '') : t('happened', code ?? statusCode ?? '') || message;

/**
 * A wait, rounded up: "in 10 minutes", «через 10 минут».
 * @param {number} ms
 */
export function inTime(ms) {
  const seconds = Math.max(1, Math.ceil(ms / 1_000));
  const format = new Intl.RelativeTimeFormat(language);
  if (seconds < 90) return format.format(seconds, 'second');
  if (seconds < 5_400) return format.format(Math.ceil(seconds / 60), 'minute');
  return format.format(Math.ceil(seconds / 3_600), 'hour');
}

/** Fills in the texts that data-t and data-t-<attribute> name. */
export function translate(to = language) {
  language = to;
  localStorage.setItem(KEPT_AS, to);
  document.documentElement.lang = to;
  document.title = t('title');
  for (const element of document.querySelectorAll('*')) {
    for (const name of element.getAttributeNames()) {
      if (name !== 'data-t' && !name.startsWith('data-t-')) continue;
      const word = t(/** @type {keyof typeof EN} */ (element.getAttribute(name)));
      if (name === 'data-t') element.textContent = word;
      else element.setAttribute(name.slice(7), word);
    }
  }
  document.dispatchEvent(new Event('translated'));
}
