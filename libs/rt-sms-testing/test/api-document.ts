import { resolve } from 'node:path';
import { bundle, createConfig, lint, lintFromString } from '@redocly/openapi-core';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type { Reply } from './support.js';

export const FILE = resolve(import.meta.dirname, '../openapi.yaml');

interface Media {
  readonly content?: Readonly<Record<string, { readonly schema: object }>>;
}
interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly required?: boolean; readonly schema: object }[];
  readonly requestBody?: Media;
  readonly responses: Readonly<
    Record<
      string,
      Media & { readonly headers?: Readonly<Record<string, { readonly required?: boolean; readonly schema: object }>> }
    >
  >;
}
interface Api {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly webhooks: { readonly statusChanged: { readonly get: Operation } };
}

// By default the linter takes every schema for a closed one, also the branches of if/else.
const config = await createConfig({
  extends: ['recommended-strict'],
  rules: { 'no-invalid-media-type-examples': { severity: 'error', allowAdditionalProperties: true } },
});

/** Problems that the linter finds in the document, or in `source` in its place. */
export async function lintProblems(source?: string): Promise<string[]> {
  const found = source === undefined ? lint({ ref: FILE, config }) : lintFromString({ source, config });
  return (await found).map(({ ruleId, message }) => `${ruleId}: ${message}`);
}

/** openapi.yaml as a validator. Each method returns the problems, an empty list if there are none. */
export class ApiDocument {
  readonly #api: Api;
  /** Strict: an unknown keyword in a schema is an error. */
  readonly #ajv = new Ajv2020({ strict: true, strictTypes: false, allErrors: true });
  readonly #compiled = new Map<object, ValidateFunction>();

  private constructor(api: Api) {
    this.#api = api;
  }

  static async load(): Promise<ApiDocument> {
    const { bundle: bundled } = await bundle({ ref: FILE, config, dereference: true });
    return new ApiDocument(bundled.parsed as Api);
  }

  request(method: string, url: string, body?: unknown): string[] {
    const { operation, uid } = this.#find(method, url);
    if (!operation) return [`no operation ${method}`];
    const parameters = uid === undefined ? {} : { uid };
    const schema = operation.requestBody?.content?.['application/json']?.schema;
    return [...this.#parameters(operation, parameters), ...(schema ? this.#check(schema, body) : [])];
  }

  response(method: string, url: string, { status, headers, text }: Reply): string[] {
    const response = this.#find(method, url).operation?.responses[status];
    if (!response) return [`no response ${status}`];
    const type = /^[^;]*/.exec(headers['content-type'] ?? '')![0];
    const schema = response.content?.[type]?.schema;
    if (!schema) return [`no content ${type}`];
    const problems = Object.entries(response.headers ?? {}).flatMap(([name, header]) => {
      if (headers[name] === undefined) return header.required ? [`no header ${name}`] : [];
      return this.#check(header.schema, headers[name]);
    });
    return [...problems, ...this.#check(schema, JSON.parse(text))];
  }

  callback(query: URLSearchParams): string[] {
    return this.#parameters(this.#api.webhooks.statusChanged.get, Object.fromEntries(query));
  }

  #find(method: string, url: string): { readonly operation: Operation | undefined; readonly uid: string | undefined } {
    const path = new URL(url).pathname.replace('/api/v2', '');
    const uid = /^\/send_message\/([^/]*)$/.exec(path)?.[1];
    const paths = this.#api.paths[uid === undefined ? path : '/send_message/{uid}'];
    return { operation: paths?.[method.toLowerCase()], uid };
  }

  #parameters({ parameters = [] }: Operation, values: Readonly<Record<string, string>>): string[] {
    const names = new Set(parameters.map(({ name }) => name));
    const unknown = Object.keys(values).filter((name) => !names.has(name));
    return [
      ...unknown.map((name) => `no parameter ${name}`),
      ...parameters.flatMap(({ name, required, schema }) => {
        if (values[name] === undefined) return required ? [`${name} is missing`] : [];
        return this.#check(schema, values[name]).map((problem) => `${name} ${problem}`);
      }),
    ];
  }

  #check(schema: object, value: unknown): string[] {
    const validate = this.#compiled.get(schema) ?? this.#ajv.compile(schema);
    this.#compiled.set(schema, validate);
    return validate(value) ? [] : validate.errors!.map(({ instancePath, message }) => `${instancePath} ${message}`);
  }
}
