import { CommanderError, type Command } from 'commander';

/**
 * Parses arguments. Returns what `--help` has printed, if it was given.
 *
 * @param create makes the program, which prints with its argument
 * @param faultOf turns the message of commander into the error to throw
 */
export function parseArguments(
  create: (print: (text: string) => void) => Command,
  args: readonly string[],
  faultOf: (message: string, cause: unknown) => Error,
): { readonly program: Command } | { readonly help: string } {
  let printed = '';
  const program = create((text) => (printed += text));
  try {
    program.parse(args, { from: 'user' });
    return { program };
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { help: printed };
    throw faultOf(error.message.replace('error: ', ''), error);
  }
}
