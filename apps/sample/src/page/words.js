const EN = {
  otherLanguage: 'Русский',
  otherLang: 'ru',
  title: 'Send SMS',
  live: 'live',
  lostLine: 'reconnecting…',
  links: 'More of this application',
  inbox: 'Open the inbox',
  queues: 'Queues',
  docs: 'API',
  health: 'Health',
  metrics: 'Metrics',
  simulated: 'The gateway is simulated: no SMS leaves this machine, and what you send appears in the inbox.',
  real: 'Messages go out through a real account, and are paid for.',
  compose: 'What to send',
  one: 'One message',
  many: 'Many, from a CSV',
  number: 'Number',
  sender: 'Sender',
  text: 'Text',
  count: (characters, limit, segments) => `${characters} / ${limit} · ${segments} SMS`,
  gsm7: 'GSM 7-bit',
  ucs2: 'UCS-2',
  gsm7Title: 'Every character is in the alphabet of GSM 03.38: 160 in one SMS, 153 in each of several',
  ucs2Title: 'At least one character is outside of GSM 03.38: 70 in one SMS, 67 in each of several',
  send: 'Send',
  sending: 'Sending…',
  messages: 'Messages',
  empty: 'Nothing was sent yet. What you send appears here, and its status changes as it becomes known.',
  older: (n) => `The newest ${n} are shown.`,
  queue: (waiting, active, followed) => `Queue: ${waiting} waiting, ${active} being sent, ${followed} followed`,
  statusOf: 'Status',
  segmentsOf: (n) => `${n} SMS`,
  toDo: 'What to do:',
  status: {
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
  },
  outcome: {
    not_sent: 'Not sent',
    rejected: 'The gateway said no: not sent',
    unknown: 'It may have been sent',
    none: 'This did not work',
  },
  advice: {
    RT_SMS_VALIDATION: 'Correct the message, see below.',
    RT_SMS_CONNECTION: 'The gateway cannot be reached. Nothing was sent: try again in a moment.',
    RT_SMS_OVERLOADED: 'There is too much to do right now. Nothing was sent: try again in a moment.',
    RT_SMS_AUTH: 'Login, password or IP address are refused. This is for whoever runs the application; see Health.',
    NO_ANSWER: 'This application does not answer. Look into the list of messages before you send it again.',
    invalid_field_msisdn: 'The gateway does not take this number: check it.',
    invalid_field_shortcode: 'Use a sender name that is agreed with the provider.',
    invalid_source_address:
      "This sender is not agreed with the recipient's operator: agree it in the provider's cabinet.",
    invalid_field_text: 'For the gateway the text is empty.',
    system_error: 'A fault of the gateway, which did not save the message. You may send it again.',
    wrong_ip:
      "The address of this server is not in the list of the provider's cabinet. This is for whoever runs the application.",
    not_sent: 'Nothing was sent: you may try again.',
    rejected: 'The gateway will not take this message as it is.',
    unknown: 'Do not send it again blindly: the recipient might get it twice. Ask the recipient, or the provider.',
    none: 'Try again; if it happens once more, tell whoever runs the application.',
  },
  pasteLabel: 'Rows of number, text and, perhaps, sender',
  csvExample: '+79990000001;Your order is ready\n+79990000002;"Your code; keep it: 4821";SHOP',
  chooseFile: 'Choose a file…',
  orDrop: 'or drop one here',
  check: 'Check',
  checking: 'Checking…',
  read: (rows, segments) => `${rows} messages, ${segments} SMS to pay for`,
  wrongRows: (n) => `${n} rows are wrong and will be left out`,
  writtenAs: (encoding, delimiter) => `read as ${encoding}, separated by ${delimiter}`,
  delimiters: { ',': 'commas', ';': 'semicolons', '\t': 'tabs' },
  firstRows: 'The first messages as they were read',
  row: 'Row',
  what: 'Details',
  sendAll: (n) => `Send ${n} messages`,
  nothingToSend: 'Nothing can be sent',
  stop: 'Stop',
  another: 'Another file',
  download: 'Download the results',
  progress: 'Progress',
  filter: 'Rows by status',
  rows: 'Rows of the file',
  all: 'all',
  pages: (from, to, total) => `${from}–${to} of ${total}`,
  earlier: 'Earlier rows',
  later: 'Later rows',
  state: {
    ready: () => '',
    sending: (done, all) => `${done} of ${all} sent…`,
    stopped: (done, all) => `Stopped after ${done} of ${all}.`,
    done: (done, all) => `All ${all} are through.`,
  },
  csvProblem: {
    empty: 'There are no messages in it.',
    not_text: 'This is no CSV. From Excel, save it as "CSV UTF-8".',
    no_separator: 'No comma, semicolon or tab parts a number from a text.',
    no_columns: 'This is neither a number and a text, nor the names of such columns (msisdn, text).',
    quote: 'A quote (") is opened and never closed, or not where it may be.',
    too_many_rows: 'Too many rows: split the file.',
    none: 'It could not be read.',
  },
  atRow: (row) => `Row ${row}:`,
  rowProblem: {
    columns: 'Put a text that holds the separator or a line break in quotes.',
    msisdn: 'This is no phone number.',
    text: 'The text cannot be sent.',
    shortcode: 'The sender cannot be used.',
  },
};

const RU = {
  otherLanguage: 'English',
  otherLang: 'en',
  title: 'Отправка SMS',
  live: 'на связи',
  lostLine: 'соединяюсь…',
  links: 'Другие страницы',
  inbox: 'Открыть входящие',
  queues: 'Очереди',
  docs: 'API',
  health: 'Готовность',
  metrics: 'Метрики',
  simulated: 'Шлюз имитируется: ни одно SMS не уходит с этой машины, а отправленное видно во входящих.',
  real: 'Сообщения уходят через настоящую учётную запись и оплачиваются.',
  compose: 'Что отправить',
  one: 'Одно сообщение',
  many: 'Много, из CSV',
  number: 'Номер',
  sender: 'Отправитель',
  text: 'Текст',
  count: (characters, limit, segments) => `${characters} / ${limit} · ${segments} SMS`,
  gsm7: 'GSM 7 бит',
  ucs2: 'UCS-2',
  gsm7Title: 'Все символы есть в алфавите GSM 03.38: 160 в одном SMS, 153 в каждом из нескольких',
  ucs2Title: 'Хотя бы одного символа нет в GSM 03.38: 70 в одном SMS, 67 в каждом из нескольких',
  send: 'Отправить',
  sending: 'Отправляю…',
  messages: 'Сообщения',
  empty: 'Пока ничего не отправлено. Сообщения появятся здесь, а статус изменится, как только станет известен.',
  older: (n) => `Показаны последние ${n}.`,
  queue: (waiting, active, followed) => `Очередь: ждут ${waiting}, отправляются ${active}, отслеживаются ${followed}`,
  statusOf: 'Статус',
  segmentsOf: (n) => `${n} SMS`,
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
    RT_SMS_VALIDATION: 'Исправьте сообщение, подробности ниже.',
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
  pasteLabel: 'Строки: номер, текст и, если нужно, отправитель',
  csvExample: '+79990000001;Ваш заказ готов\n+79990000002;"Ваш код; никому не говорите: 4821";SHOP',
  chooseFile: 'Выбрать файл…',
  orDrop: 'или перетащите его сюда',
  check: 'Проверить',
  checking: 'Проверяю…',
  read: (rows, segments) => `Сообщений: ${rows}, к оплате SMS: ${segments}`,
  wrongRows: (n) => `Строк с ошибкой: ${n}, они будут пропущены`,
  writtenAs: (encoding, delimiter) => `кодировка ${encoding}, разделитель — ${delimiter}`,
  delimiters: { ',': 'запятая', ';': 'точка с запятой', '\t': 'табуляция' },
  firstRows: 'Первые сообщения, как они прочитаны',
  row: 'Строка',
  what: 'Подробности',
  sendAll: (n) => `Отправить сообщений: ${n}`,
  nothingToSend: 'Отправлять нечего',
  stop: 'Остановить',
  another: 'Другой файл',
  download: 'Скачать результаты',
  progress: 'Ход отправки',
  filter: 'Строки по статусу',
  rows: 'Строки файла',
  all: 'все',
  pages: (from, to, total) => `${from}–${to} из ${total}`,
  earlier: 'Предыдущие строки',
  later: 'Следующие строки',
  state: {
    ready: () => '',
    sending: (done, all) => `Отправлено ${done} из ${all}…`,
    stopped: (done, all) => `Остановлено после ${done} из ${all}.`,
    done: (done, all) => `Обработаны все: ${all}.`,
  },
  csvProblem: {
    empty: 'В нём нет сообщений.',
    not_text: 'Это не CSV. В Excel сохраните файл как «CSV UTF-8».',
    no_separator: 'Номер не отделён от текста ни запятой, ни точкой с запятой, ни табуляцией.',
    no_columns: 'Это не номер и текст и не названия таких столбцов (телефон, текст).',
    quote: 'Кавычка (") открыта и не закрыта или стоит не на месте.',
    too_many_rows: 'Слишком много строк: разделите файл.',
    none: 'Его не удалось прочитать.',
  },
  atRow: (row) => `Строка ${row}:`,
  rowProblem: {
    columns: 'Текст с разделителем или переносом строки заключите в кавычки.',
    msisdn: 'Это не номер телефона.',
    text: 'Такой текст отправить нельзя.',
    shortcode: 'Такого отправителя указать нельзя.',
  },
};

const KEPT_AS = 'sample.language';
let language = localStorage.getItem(KEPT_AS) ?? (navigator.language.startsWith('ru') ? 'ru' : 'en');

export const languageNow = () => language;
const words = () => (language === 'ru' ? RU : EN);

/** A word, or one of a group: `t('status', 'delivered')`; one that takes values gets them. */
export function t(key, ...values) {
  const word = words()[key];
  if (typeof word === 'function') return word(...values);
  if (typeof word === 'object') {
    const [name, ...rest] = values;
    const chosen = word[name] ?? word.none ?? String(name);
    return typeof chosen === 'function' ? chosen(...rest) : chosen;
  }
  return word ?? key;
}

/** What a person should do about an error: by the gateway's word, by our code, else by what became of the message. */
export function whatToDo({ reason, code, outcome }) {
  const { advice } = words();
  return advice[reason] ?? advice[code] ?? advice[outcome] ?? advice.none;
}

/** Puts the words in wherever data-t or data-t-<attribute> names one. */
export function translate(to = language) {
  language = to;
  localStorage.setItem(KEPT_AS, to);
  document.documentElement.lang = to;
  document.title = t('title');
  for (const element of document.querySelectorAll('*')) {
    for (const name of element.getAttributeNames()) {
      if (name === 'data-t') element.textContent = t(element.dataset.t);
      else if (name.startsWith('data-t-')) element.setAttribute(name.slice(7), t(element.getAttribute(name)));
    }
  }
  document.dispatchEvent(new Event('translated'));
}
