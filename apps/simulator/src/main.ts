import { MAGIC_NUMBERS, RtSmsSimulator, type RtSmsSimulatorOptions } from 'nestjs-rt-sms-testing';

const DEFAULT_PORT = 4010;

/** GATEWAY_PORT, RT_SMS_SIM_LOGIN, RT_SMS_SIM_PASSWORD, CALLBACK_URL and SEED; what is empty counts as not set. */
function optionsFrom(env: NodeJS.ProcessEnv): RtSmsSimulatorOptions {
  const { GATEWAY_PORT, RT_SMS_SIM_LOGIN, RT_SMS_SIM_PASSWORD, CALLBACK_URL, SEED } = env;
  return {
    port: GATEWAY_PORT ? Number(GATEWAY_PORT) : DEFAULT_PORT,
    ...(RT_SMS_SIM_LOGIN && { login: RT_SMS_SIM_LOGIN }),
    ...(RT_SMS_SIM_PASSWORD && { password: RT_SMS_SIM_PASSWORD }),
    ...(CALLBACK_URL && { callbackUrl: CALLBACK_URL }),
    ...(SEED && { seed: Number(SEED) }),
  };
}

function introduction(gateway: RtSmsSimulator, callbackUrl = 'none (set CALLBACK_URL)'): string {
  const { url, login, password } = gateway.options;
  return [
    'SMS gateway simulator',
    `  url       ${url}`,
    `  login     ${login}`,
    `  password  ${password}`,
    `  callbacks ${callbackUrl}`,
    `  seed      ${gateway.seed}`,
    '',
    'Any number is delivered, but',
    ...MAGIC_NUMBERS.map(({ msisdn, does }) => `  ${msisdn}  ${does}`),
    '',
  ].join('\n');
}

try {
  const options = optionsFrom(process.env);
  const gateway = await RtSmsSimulator.start(options);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void gateway.close());
  process.stdout.write(introduction(gateway, options.callbackUrl));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
