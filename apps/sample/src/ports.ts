/** An error in the environment. Only its message is printed, because a stack trace would hide it. */
export class StartError extends Error {}

/** @throws StartError if the value of the variable is not a port */
export function portFrom(variable: string, byDefault: number): number {
  const value = process.env[variable]?.trim() || String(byDefault);
  if (/^\d{1,5}$/.test(value) && Number(value) <= 65_535) return Number(value);
  throw new StartError(`${variable} must be a port, 0 to 65535 (0: any free one), not '${value}'`);
}

/**
 * @param address value of BIND_ADDRESS, if `listen` uses it
 * @throws StartError that names the variable to change, if the port or the address is not available
 */
export async function listening<T>(
  variable: string,
  port: number,
  listen: () => Promise<T>,
  address?: string,
): Promise<T> {
  try {
    return await listen();
  } catch (error) {
    const { code, syscall, hostname } = causeOf(error);
    if (code === 'EADDRINUSE' || code === 'EACCES') {
      const why = code === 'EADDRINUSE' ? 'is in use' : `cannot be listened on (${code})`;
      const message = `Port ${port} ${why}. Set ${variable} to another one, or to 0 for any free one.`;
      throw new StartError(message, { cause: error });
    }
    // The address does not belong to this machine, or the name cannot be resolved.
    if (address !== undefined && (syscall === 'listen' || hostname === address)) {
      const message = `${address} cannot be listened on (${code}). Set BIND_ADDRESS to an address of this machine.`;
      throw new StartError(message, { cause: error });
    }
    throw error;
  }
}

const causeOf = (error: unknown) =>
  ((error as NodeJS.ErrnoException).code ? error : ((error as Error).cause ?? {})) as NodeJS.ErrnoException & {
    hostname?: string;
  };
