import type { SqlTransaction } from 'nestjs-rt-sms';

/** A statement of a library whose placeholders are not numbered: its parts, and the values between them. */
function split(sql: string, values: unknown[]): { parts: string[]; ordered: unknown[] } {
  const parts = sql.split(/\$\d+/);
  const ordered = [...sql.matchAll(/\$(\d+)/g)].map(([, number]) => values[Number(number) - 1]);
  return { parts, ordered };
}

/** For the option `tx` of `enqueue`: the `EntityManager` or `QueryRunner` of a transaction of TypeORM. */
export const fromTypeOrm = (manager: {
  query(sql: string, parameters?: unknown[]): Promise<unknown>;
}): SqlTransaction => ({ query: (sql, values) => manager.query(sql, values) });

/** For the option `tx` of `enqueue`: a transaction of Knex, the `trx` of `knex.transaction`. */
export const fromKnex = (trx: { raw(sql: string, bindings: never): PromiseLike<unknown> }): SqlTransaction => ({
  query: async (sql, values) => {
    const { parts, ordered } = split(sql, values);
    return trx.raw(parts.join('?'), ordered as never);
  },
});

/** For the option `tx` of `enqueue`: the `tx` of `db.transaction` in Drizzle, and the `sql` of `drizzle-orm`. */
export const fromDrizzle = <Statement>(
  tx: { execute(query: Statement): PromiseLike<unknown> },
  sql: (strings: TemplateStringsArray, ...values: never[]) => Statement,
): SqlTransaction => ({
  query: async (text, values) => {
    const { parts, ordered } = split(text, values);
    return tx.execute(sql(Object.assign(parts, { raw: parts }), ...(ordered as never[])));
  },
});

/** For the option `tx` of `enqueue`: the `tx` of an interactive `$transaction` of Prisma. */
export const fromPrisma = (tx: {
  $queryRawUnsafe(sql: string, ...values: never[]): PromiseLike<unknown>;
}): SqlTransaction => ({ query: async (sql, values) => tx.$queryRawUnsafe(sql, ...(values as never[])) });

/** The rows of a result: the result itself, or its `rows`. */
export function rowsOf<T>(result: unknown): T[] {
  const { rows = result } = (result ?? {}) as { rows?: unknown };
  return Array.isArray(rows) ? (rows as T[]) : [];
}
