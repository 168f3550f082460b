/** Problem that a schema has found. */
export interface RtSmsSchemaIssue {
  /** Sentence without its subject. It never contains a number, a text or a password. */
  readonly message: string;
  /** Name of the field or of the variable; absent for the value itself. */
  readonly path?: readonly PropertyKey[];
}

/** Result of a schema: the value, or at least one issue. */
export type RtSmsSchemaResult<Output> =
  { readonly value: Output; readonly issues?: undefined } | { readonly issues: readonly RtSmsSchemaIssue[] };

/**
 * A schema of [Standard Schema](https://standardschema.dev) v1, for every library and framework that takes one, such as
 * `@Body({ schema })` of Nest 12. It validates synchronously and never throws.
 */
export interface RtSmsSchema<Input, Output = Input> {
  /** The properties of the standard. */
  readonly '~standard': {
    /** Version of the standard. */
    readonly version: 1;
    /** Name of the library. */
    readonly vendor: 'nestjs-rt-sms';
    /** Types of the input and of the output; not present at run time. */
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
    /** Checks a value. */
    readonly validate: (value: unknown) => RtSmsSchemaResult<Output>;
  };
}

export const schemaOf = <Input, Output = Input>(
  validate: (value: unknown) => RtSmsSchemaResult<Output>,
): RtSmsSchema<Input, Output> => ({ '~standard': { version: 1, vendor: 'nestjs-rt-sms', validate } });
