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
import { HttpAdapterHost, type AbstractHttpAdapter } from '@nestjs/core';
import type { RtSmsService } from '../rt-sms.service.js';
import { getRtSmsToken } from '../rt-sms.tokens.js';

/** What both platforms give of a request. */
interface PlatformRequest {
  method: string;
  ip?: string;
  params?: { secret?: string };
  query?: Record<string, unknown>;
}

/** What a query parser of the application's own throws at says nothing, and tells nobody that this route is here. */
function queryOf(request: PlatformRequest): Record<string, unknown> {
  try {
    return request.query ?? {};
  } catch {
    return {};
  }
}

/** Both forms of the path. The usual one is the first: Express tries one after the other. */
const BARE = [':secret', ''];
/** The same with a slash at its end, written so that Express and Fastify understand it. */
const WITH_SLASH = [':secret//', '//'];

/** Whether Fastify takes a path with a slash at its end for the one without, and so refuses it as one that is there already. */
function ignoresTrailingSlash(adapter: AbstractHttpAdapter): boolean {
  if (adapter.getType() !== 'fastify') return false;
  type Settings = { ignoreTrailingSlash?: boolean };
  const { initialConfig } = adapter.getInstance<{ initialConfig?: Settings & { routerOptions?: Settings } }>();
  return (initialConfig?.routerOptions?.ignoreTrailingSlash ?? initialConfig?.ignoreTrailingSlash) === true;
}

/** Makes `routes` those of the platform, in place: a decorator holds them since before it was known. */
export function fitRoutes(routes: string[], adapter: AbstractHttpAdapter): void {
  routes.splice(0, routes.length, ...BARE, ...(ignoresTrailingSlash(adapter) ? [] : WITH_SLASH));
}

/**
 * The controller of the provider's callbacks (§3.1) for one account. A class of its own for each registration: a shared one
 * would have one route for all. Nest reads `routes` when it looks for them.
 */
export function callbackController(
  account: string,
  path: string,
  routes: string[],
  decorators: readonly ClassDecorator[],
): Type {
  const token = getRtSmsToken(account);
  // An empty list the decorator would take for '/'.
  routes.push(...BARE);

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
      const { method, params } = request;
      const from = {
        secret: params?.secret,
        // Express works it out anew each time it is asked.
        get ip() {
          return request.ip;
        },
      };
      // A HEAD runs a GET's handler on both platforms.
      if (method === 'GET' && (await this.sms.handleCallback(queryOf(request), from)) === 'accepted') return true;
      throw new NotFoundException(`Cannot ${method} ${this.host.httpAdapter.getRequestUrl(request)}`);
    }
  }

  @Controller({ path, version: VERSION_NEUTRAL })
  @UseGuards(RtSmsCallbackGuard)
  class RtSmsCallbackController {
    @Get(routes)
    @Header('Cache-Control', 'no-store')
    receive(): string {
      return 'ok';
    }
  }
  for (const decorate of decorators) decorate(RtSmsCallbackController);
  return RtSmsCallbackController;
}
