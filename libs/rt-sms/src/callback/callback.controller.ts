import {
  Controller,
  Get,
  Inject,
  Injectable,
  NotFoundException,
  Req,
  Res,
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

/** Both forms of the path, each with and without a trailing slash; these four work on Express and on Fastify. */
const ROUTES = ['', '//', ':secret', ':secret//'];

/**
 * The controller of the provider's callbacks (§3.1) for one account. A class of its own for each registration: a shared one
 * would have one route for all. It takes the raw request, so that no pipe of the application can refuse a callback.
 */
export function callbackController(account: string, path: string, decorators: readonly ClassDecorator[]): Type {
  const token = getRtSmsToken(account);

  /** Answers whatever is not authentic as the platform answers an unknown route. */
  @Injectable()
  class RtSmsCallbackGuard implements CanActivate {
    constructor(
      @Inject(token) private readonly sms: RtSmsService,
      @Inject(HttpAdapterHost) private readonly host: HttpAdapterHost,
    ) {}

    canActivate(context: ExecutionContext): boolean {
      const request = context.switchToHttp().getRequest<PlatformRequest>();
      // A HEAD runs a GET's handler on both platforms.
      if (request.method === 'GET' && this.sms.trusts({ secret: request.params?.secret, ip: request.ip })) return true;
      throw new NotFoundException(`Cannot ${request.method} ${this.host.httpAdapter.getRequestUrl(request)}`);
    }
  }

  @Controller({ path, version: VERSION_NEUTRAL })
  @UseGuards(RtSmsCallbackGuard)
  class RtSmsCallbackController {
    constructor(
      @Inject(token) private readonly sms: RtSmsService,
      @Inject(HttpAdapterHost) private readonly host: HttpAdapterHost,
    ) {}

    @Get(ROUTES)
    async receive(@Req() request: PlatformRequest, @Res({ passthrough: true }) response: unknown): Promise<string> {
      await this.sms.handleCallback(request.query ?? {}, { secret: request.params?.secret, ip: request.ip });
      this.host.httpAdapter.setHeader(response, 'Cache-Control', 'no-store');
      return 'ok';
    }
  }
  for (const decorate of decorators) decorate(RtSmsCallbackController);
  return RtSmsCallbackController;
}
