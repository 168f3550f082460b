/** Texts of the page for signing in, in English and Russian. */
import { inTime, languageNow } from './words.js';

/** @typedef {string | ((...values: any[]) => string)} Word */

const EN = {
  otherLanguage: 'Русский',
  otherLang: 'ru',
  title: 'Sign in by phone',
  links: 'More of this application',
  messages: 'Messages',
  inbox: 'Open the inbox',
  number: 'Phone number',
  start: 'Send me a code',
  code: 'Code from the SMS',
  verify: 'Sign in',
  otherNumber: 'Another number',
  resend: 'Send again',
  resendIn: (/** @type {string} */ time) => `Send again in ${time}`,
  sentTo: (/** @type {string} */ to) => `The code was sent to ${to}.`,
  perhapsSentTo: (/** @type {string} */ to) => `The code is on its way to ${to}, or it was lost: wait for it a little.`,
  sentAgain: 'The same code was sent again.',
  mayResend: 'You can have the code sent again.',
  done: (/** @type {string} */ number) => `You are signed in as ${number}.`,
  numberMissing: 'Enter your phone number.',
  codeMissing: 'Enter the code from the SMS.',
  undelivered: 'The SMS was not delivered. Check the number, or have the code sent again.',
  overdue: 'The SMS has not arrived yet. Wait a little longer, or have the code sent again.',
  wrong: (/** @type {number} */ left) =>
    left === 0
      ? 'The code is wrong, and no attempts are left. Request a new code.'
      : `The code is wrong. Attempts left: ${left}.`,
  locked: 'Too many wrong codes. Request a new code.',
  expired: 'The code has expired. Request a new code.',
  used: 'The code was used already. Request a new code.',
  unknown: 'This code is no longer valid. Request a new code.',
  RT_SMS_VALIDATION: 'This is not a phone number. Write it with + and the country code.',
  RT_SMS_POLICY: (/** @type {number | undefined} */ ms) =>
    ms === undefined
      ? 'This application does not send codes to this number.'
      : `Too many codes were requested. Try again ${inTime(ms)}.`,
  RT_SMS_OTP_TOO_SOON: 'The code was sent a moment ago. Wait before you have it sent again.',
  RT_SMS_OTP_STORE: 'The application cannot check codes right now. Try again in a moment.',
  NO_ANSWER: 'The application does not answer. Try again in a moment.',
  none: 'The code could not be sent. Try again later.',
};

/** @type {typeof EN} */
const RU = {
  otherLanguage: 'English',
  otherLang: 'en',
  title: 'Вход по телефону',
  links: 'Другие страницы',
  messages: 'Сообщения',
  inbox: 'Открыть входящие',
  number: 'Номер телефона',
  start: 'Получить код',
  code: 'Код из SMS',
  verify: 'Войти',
  otherNumber: 'Другой номер',
  resend: 'Отправить ещё раз',
  resendIn: (time) => `Отправить ещё раз через ${time}`,
  sentTo: (to) => `Код отправлен на номер ${to}.`,
  perhapsSentTo: (to) => `Код отправлен на номер ${to}, но мог не дойти: подождите немного.`,
  sentAgain: 'Тот же код отправлен ещё раз.',
  mayResend: 'Код можно отправить ещё раз.',
  done: (number) => `Вы вошли, ваш номер ${number}.`,
  numberMissing: 'Введите номер телефона.',
  codeMissing: 'Введите код из SMS.',
  undelivered: 'SMS не доставлено. Проверьте номер или отправьте код ещё раз.',
  overdue: 'SMS пока не пришло. Подождите ещё или отправьте код повторно.',
  wrong: (left) =>
    left === 0 ? 'Код неверный, попыток больше нет. Запросите новый код.' : `Код неверный. Осталось попыток: ${left}.`,
  locked: 'Слишком много неверных кодов. Запросите новый код.',
  expired: 'Срок действия кода истёк. Запросите новый код.',
  used: 'Этот код уже использован. Запросите новый код.',
  unknown: 'Этот код больше не действует. Запросите новый код.',
  RT_SMS_VALIDATION: 'Это не номер телефона. Напишите его с + и кодом страны.',
  RT_SMS_POLICY: (ms) =>
    ms === undefined
      ? 'На этот номер приложение не отправляет коды.'
      : `Запрошено слишком много кодов. Попробуйте снова ${inTime(ms)}.`,
  RT_SMS_OTP_TOO_SOON: 'Код только что отправлен. Подождите, прежде чем отправлять его ещё раз.',
  RT_SMS_OTP_STORE: 'Сейчас проверить код нельзя. Попробуйте чуть позже.',
  NO_ANSWER: 'Приложение не отвечает. Попробуйте чуть позже.',
  none: 'Не удалось отправить код. Попробуйте позже.',
};

/** @typedef {keyof typeof EN} Key */

/**
 * A text by its key; an unknown key gives the text `none`.
 * @param {string} key
 * @param {...any} values
 */
export function s(key, ...values) {
  /** @type {Record<string, Word>} */
  const words = languageNow() === 'ru' ? RU : EN;
  const word = words[key] ?? words['none'] ?? '';
  return typeof word === 'function' ? word(...values) : word;
}

/** Fills in the texts that data-s and data-s-<attribute> name. */
export function fillIn() {
  document.title = s('title');
  for (const element of document.querySelectorAll('*')) {
    for (const name of element.getAttributeNames()) {
      if (name !== 'data-s' && !name.startsWith('data-s-')) continue;
      const word = s(element.getAttribute(name) ?? '');
      if (name === 'data-s') element.textContent = word;
      else element.setAttribute(name.slice(7), word);
    }
  }
}
