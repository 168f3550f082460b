import { HttpService } from '@nestjs/axios';
import axios, { type InternalAxiosRequestConfig } from 'axios';
import type { ExchangeConfig, Transport } from './transport.js';

// Axios declares its types twice, for ESM and for CommonJS, and the two do not match: Nest's are the ones that count here.
type AxiosInstance = HttpService['axiosRef'];

/**
 * The account's own `HttpService`: axios on top for interceptors and stand-ins, undici's wire underneath.
 * As long as nobody has taken hold of the axios instance nothing can have been added to it, and requests go past axios.
 */
export class AccountHttp extends HttpService {
  private exposed = false;

  constructor(transport: Transport, baseUrl: string) {
    const instance = axios.create({
      baseURL: baseUrl,
      adapter: transport.adapter,
      transformRequest: [],
      transformResponse: [],
      maxRedirects: 0,
      proxy: false,
    });
    // Request interceptors run from the last registered to the first: this one sees what the user's have left.
    instance.interceptors.request.use((config: InternalAxiosRequestConfig & ExchangeConfig) => {
      // Another adapter says nothing of the phase, so whatever fails in it may have been sent.
      if (config.adapter !== transport.adapter && config.rtSmsExchange) config.rtSmsExchange.started = true;
      return config;
    });
    super(instance as unknown as AxiosInstance);
  }

  override get axiosRef(): AxiosInstance {
    this.exposed = true;
    return this.instance;
  }

  /** True while no interceptor, default or stand-in can be in the way. */
  get untouched(): boolean {
    return !this.exposed;
  }
}
