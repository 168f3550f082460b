import { HttpService } from '@nestjs/axios';
import axios from 'axios';
import type { Transport } from './transport.js';

// Axios declares its types twice, for ESM and for CommonJS, and the two do not match: Nest's are the ones that count here.
type AxiosInstance = HttpService['axiosRef'];

/**
 * The account's own `HttpService`: axios on top for interceptors and stand-ins, undici's wire underneath.
 * As long as nobody has taken hold of the axios instance nothing can have been added to it, and requests go past axios.
 */
export class AccountHttp extends HttpService {
  /** True while no interceptor, default or stand-in can be in the way. */
  untouched = true;

  constructor(transport: Transport, baseUrl: string) {
    const instance: unknown = axios.create({
      baseURL: baseUrl,
      adapter: transport.adapter,
      transformRequest: [],
      transformResponse: [],
      maxRedirects: 0,
      proxy: false,
    });
    super(instance as AxiosInstance);
  }

  override get axiosRef(): AxiosInstance {
    this.untouched = false;
    return this.instance;
  }
}
