import { RtSmsSimulator, type RtSmsSimulatorOptions } from 'nestjs-rt-sms-testing';
import { atEnd } from '../platforms.js';

export const SECRET = 'a-secret-of-sixteen';

/** Starts a gateway and sets the variables of its account for the sample; all other RT_SMS_* variables are removed. */
export async function gatewayInEnvironment(
  options: RtSmsSimulatorOptions = {},
  variables: Record<string, string> = { RT_SMS_CALLBACK_SECRETS: SECRET },
): Promise<RtSmsSimulator> {
  const gateway = await RtSmsSimulator.start({ lifecycle: false, ...options });
  atEnd(() => gateway.close());
  for (const name of Object.keys(process.env)) if (name.startsWith('RT_SMS_')) delete process.env[name];
  const { login, password, url } = gateway.options;
  Object.assign(process.env, {
    RT_SMS_LOGIN: login,
    RT_SMS_PASSWORD: password,
    RT_SMS_URL: url,
    RT_SMS_SHORTCODE: 'SHOP',
    ...variables,
  });
  return gateway;
}
