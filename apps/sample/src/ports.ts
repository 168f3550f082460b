/** Something in the surroundings is wrong: the message says all, a stack trace would only hide it. */
export class StartError extends Error {}

/** @throws StartError if the variable is set to no port */
export function portFrom(variable: string, byDefault: number): number {
  const value = process.env[variable]?.trim() || String(byDefault);
  if (/^\d{1,5}$/.test(value) && Number(value) <= 65_535) return Number(value);
  throw new StartError(`${variable} must be a port, 0 to 65535 (0: any free one), not '${value}'`);
}

/** @throws StartError that names the port and the variable, if `listen` fails because of the port */
export async function listening<T>(variable: string, port: number, listen: () => Promise<T>): Promise<T> {
  try {
    return await listen();
  } catch (error) {
    const code = codeOf(error) ?? codeOf((error as Error).cause);
    if (code === undefined) throw error;
    const why = code === 'EADDRINUSE' ? 'is in use' : `cannot be listened on (${code})`;
    throw new StartError(`Port ${port} ${why}. Set ${variable} to another one, or to 0 for any free one.`, {
      cause: error,
    });
  }
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException | undefined)?.code;
