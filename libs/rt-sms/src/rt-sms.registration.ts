import { callbackPathOf } from './callback/callback-url.js';
import { EXTRAS } from './options/resolve-options.js';
import { DEFAULT_ACCOUNT, type RtSmsExtras } from './options/rt-sms.options.js';
import { RtSmsConfigError } from './rt-sms.errors.js';

/** Name and callback path that one `forRoot` or `forRootAsync` has registered. */
export interface Registration {
  account: string;
  /** Callback path without slashes at its ends; `false` without a route. */
  path: string | false;
  /** Routes of the controller. `RtSmsModule.configure` replaces them once the secret and the platform are known. */
  routes: string[];
}

const PLAIN_PATH = /^(?!\.{1,2}(\/|$))[\w.~-]+(\/(?!\.{1,2}(\/|$))[\w.~-]+)*$/;

/**
 * Reads the settings of a registration. `asyncKeys` are the keys that stand next to the factory of `forRootAsync`.
 * @throws RtSmsConfigError with every problem
 */
export function readRegistration(extras: RtSmsExtras, asyncKeys: string[]): Registration {
  const { name: account = DEFAULT_ACCOUNT } = extras;
  const problems = asyncKeys
    .filter((key) => !EXTRAS.includes(key))
    .map((key) => `${key}: must be returned by the factory; only ${EXTRAS.join(', ')} stand next to it`);
  if (typeof account !== 'string' || !/^[a-z][a-z0-9-]*$/.test(account)) {
    problems.push(`name: must consist of a-z, 0-9 and "-" and start with a letter, not '${String(account)}'`);
  }
  const asked = callbackPathOf(extras);
  const path = typeof asked === 'string' ? asked.replace(/^\/+|\/+$/g, '') : asked;
  if (path !== false && (typeof path !== 'string' || !PLAIN_PATH.test(path))) {
    problems.push(`callbackPath: must be a plain path such as 'rt-sms/callback', or false, not '${String(asked)}'`);
  }
  const { callbackDecorators = [], isGlobal = false } = extras;
  if (typeof isGlobal !== 'boolean') problems.push('isGlobal: must be true or false');
  if (
    !Array.isArray(callbackDecorators) ||
    Array.from(callbackDecorators).some((decorate) => typeof decorate !== 'function')
  ) {
    problems.push('callbackDecorators: must be a list of class decorators, such as [Public()]');
  }
  if (problems.length > 0) throw new RtSmsConfigError(problems, String(account));
  return { account, path, routes: path === false ? [] : [path] };
}

/** Problems of `own` among all registrations of the application: an account or a path that is used twice. */
export function conflicts(own: Registration, all: readonly Registration[]): string[] {
  const problems: string[] = [];
  if (all.filter(({ account }) => account === own.account).length > 1) {
    problems.push(
      'name: this account is registered twice; register it once, in the root module, with isGlobal, or give the other one a name',
    );
  }
  // Express ignores the case of paths.
  const lower = ({ path }: Registration) => (path === false ? [] : [path.toLowerCase()]);
  const paths = all.flatMap(lower);
  for (const path of lower(own)) {
    if (paths.filter((other) => other === path).length > 1) {
      problems.push(`callbackPath: '${own.path}' is used by two accounts; give each its own`);
    }
    // The rest of the other path would be taken for a secret of this account.
    if (paths.some((other) => other.startsWith(`${path}/`))) {
      problems.push(
        `callbackPath: the path of another account starts with '${own.path}/'; choose a path outside of it`,
      );
    }
  }
  return problems;
}
