import { HttpService } from '@nestjs/axios';
import axios, { type AxiosAdapter } from 'axios';
import { axiosAdapter } from './axios-adapter.js';
import type { Transport } from './transport.js';

// Axios declares its types twice, for ESM and for CommonJS, and the two do not match. Nest's are used here.
type AxiosInstance = HttpService['axiosRef'];

/**
 * The account's own `HttpService`: axios for interceptors and test doubles, the transport below it. Until the application
 * has taken the axios instance nothing can have been added to it, and requests bypass axios.
 */
export class AccountHttp extends HttpService {
  /** True while the application cannot have added an interceptor, a default or a test double. */
  untouched = true;
  /** The adapter that the account's axios instance had at the start. */
  readonly adapter: AxiosAdapter;

  constructor(transport: Pick<Transport, 'send'>, url: URL) {
    const adapter = axiosAdapter(transport, url);
    const instance: unknown = axios.create({
      baseURL: url.href,
      adapter,
      transformRequest: [],
      transformResponse: [],
      maxRedirects: 0,
      proxy: false,
    });
    super(instance as AxiosInstance);
    this.adapter = adapter;
  }

  override get axiosRef(): AxiosInstance {
    this.untouched = false;
    return this.instance;
  }
}
