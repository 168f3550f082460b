import {
  Controller,
  Get,
  Header,
  Inject,
  Injectable,
  NotFoundException,
  UseGuards,
  VERSION_NEUTRAL,
  type CanActivate,
  type ExecutionContext,
  type Type,
} from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { RtSmsService } from '../rt-sms.service.js';
import { getRtSmsToken } from '../rt-sms.tokens.js';

/** What both platforms give of a request. */
interface PlatformRequest {
  method: string;
  ip?: string;
  params?: { secret?: string };
  query?: Record<string, unknown>;
}

/**
 * Both forms of the path, each with and without a trailing slash; these four work on Express and on Fastify. The usual one
 * is the first: Express tries one after the other.
 */
const ROUTES = [':secret', ':secret//', '', '//'];

/**
 * The controller of the provider's callbacks (§3.1) for one account. A class of its own for each registration: a shared one
 * would have one route for all.
 */
export function callbackController(account: string, path: string, decorators: readonly ClassDecorator[]): Type {
  const token = getRtSmsToken(account);

  /**
   * Takes the callback, and answers whatever is not authentic as the platform answers an unknown route. A guard, since it runs
   * before interceptors and pipes, whatever those of the application do.
   */
  @Injectable()
  class RtSmsCallbackGuard implements CanActivate {
    constructor(
      @Inject(token) private readonly sms: RtSmsService,
      @Inject(HttpAdapterHost) private readonly host: HttpAdapterHost,
    ) {}

    async canActivate(context: ExecutionContext): Promise<boolean> {
      const request = context.switchToHttp().getRequest<PlatformRequest>();
      const { method, query = {}, params } = request;
      const from = {
        secret: params?.secret,
        // Express works it out anew each time it is asked.
        get ip() {
          return request.ip;
        },
      };
      // A HEAD runs a GET's handler on both platforms.
      if (method === 'GET' && (await this.sms.handleCallback(query, from)) === 'accepted') return true;
      throw new NotFoundException(`Cannot ${method} ${this.host.httpAdapter.getRequestUrl(request)}`);
    }
  }

  @Controller({ path, version: VERSION_NEUTRAL })
  @UseGuards(RtSmsCallbackGuard)
  class RtSmsCallbackController {
    @Get(ROUTES)
    @Header('Cache-Control', 'no-store')
    receive(): string {
      return 'ok';
    }
  }
  for (const decorate of decorators) decorate(RtSmsCallbackController);
  return RtSmsCallbackController;
}
