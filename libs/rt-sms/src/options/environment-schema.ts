import { schemaOf, type RtSmsSchema } from '../standard-schema.js';
import { checkOptions } from './resolve-options.js';
import { prefixOf, readEnvironment } from './rt-sms.config.js';

type Environment = Record<string, unknown>;

/**
 * Standard Schema of the variables of a named account, as `rtSmsConfigFor` reads them: `RT_SMS_OTP_*` for `'otp'`.
 * @param account name of the account; by default the account without a name
 */
export const rtSmsEnvSchemaFor = (account?: string): RtSmsSchema<Environment> =>
  schemaOf((value) => {
    if (typeof value !== 'object' || value === null) return { issues: [{ message: 'must be an object of variables' }] };
    const env = value as Environment;
    const { problems } = checkOptions(readEnvironment(prefixOf(account), env), false);
    if (problems.length === 0) return { value: env };
    return { issues: problems.map(({ option, variable, text }) => ({ message: text, path: [variable ?? option] })) };
  });

/**
 * Standard Schema of the `RT_SMS_*` variables, for `ConfigModule.forRoot({ validationSchema })` of `@nestjs/config` 12. It checks
 * what `rtSmsConfig` reads with the rules of the module's options, and returns all variables unchanged.
 */
export const rtSmsEnvSchema: RtSmsSchema<Environment> = rtSmsEnvSchemaFor();
