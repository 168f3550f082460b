import type { AxiosAdapter, AxiosRequestConfig, AxiosResponse, InternalAxiosRequestConfig } from 'axios';
import { RequestAttempt } from './request-attempt.js';
import { TransportFailure } from './transport-failure.js';
import type { Transport, WireRequest } from './transport.js';
import { readObject } from './wire.js';

/** Carries the attempt through axios to the adapter. Axios passes instances of a class through its merging by reference. */
type AttemptConfig = { rtSmsAttempt?: RequestAttempt };

/** The adapter of one account: it sends what a request has become after the interceptors. */
export const axiosAdapter =
  (transport: Pick<Transport, 'send'>, gateway: URL): AxiosAdapter =>
  async (config) => {
    const attempt = (config as AttemptConfig).rtSmsAttempt ?? new RequestAttempt();
    const { status, data, headers } = await transport.send(fromAxios(config, gateway), attempt);
    // Axios converts the headers to its own class.
    return { status, data, statusText: '', headers: headers as AxiosResponse['headers'], config };
  };

/** The request as axios takes it. If axios ends up with another adapter than `adapter`, the attempt counts as untracked. */
export function toAxios(
  { method, path, body }: WireRequest,
  gateway: URL,
  attempt: RequestAttempt,
  adapter: AxiosRequestConfig['adapter'],
): AxiosRequestConfig {
  const config: AxiosRequestConfig & AttemptConfig = {
    method,
    url: gateway.origin + path,
    ...(body ? { data: body } : {}),
    rtSmsAttempt: attempt,
    validateStatus: null,
    // Runs after the interceptors, so it sees the adapter that will be used.
    transformRequest(data: unknown) {
      if (this.adapter !== adapter) attempt.start('untracked');
      return data;
    },
  };
  return config;
}

function fromAxios(config: InternalAxiosRequestConfig, gateway: URL): WireRequest {
  const url = new URL(config.url ?? '', gateway);
  // The credentials are for one origin, even if an interceptor changes the address.
  if (url.origin !== gateway.origin) {
    throw new TransportFailure(`${url.origin} is not this account's gateway`, { permanent: true });
  }
  const path = url.pathname + url.search;
  const headers = extraHeaders(config);
  if (config.method?.toUpperCase() !== 'POST') return { method: 'GET', path, headers };
  return { method: 'POST', path, headers, body: bodyOf(config.data) };
}

/** The body as the interceptors left it. The message of a JSON parser would quote the text, so it is not passed on. */
function bodyOf(data: unknown): Record<string, unknown> {
  const body = readObject(data);
  if (body) return body;
  throw new TransportFailure('an interceptor left a body that is not a JSON object', { permanent: true });
}

const RESERVED_HEADERS =
  /^(authorization|proxy-authorization|host|content-length|content-type|accept|accept-encoding|user-agent|connection|transfer-encoding)$/i;

/** Headers that interceptors or defaults added, without those that the transport sets itself. */
const extraHeaders = (config: InternalAxiosRequestConfig): string[] =>
  Object.entries(config.headers.toJSON()).flatMap(([name, value]) =>
    RESERVED_HEADERS.test(name) || value == null ? [] : [name, String(value)],
  );
