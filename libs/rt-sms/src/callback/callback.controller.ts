import {
  Catch,
  Controller,
  Get,
  Header,
  Inject,
  Injectable,
  ServiceUnavailableException,
  UseFilters,
  UseGuards,
  VERSION_NEUTRAL,
  type ArgumentsHost,
  type CanActivate,
  type ExceptionFilter,
  type ExecutionContext,
  type Type,
} from '@nestjs/common';
import { isRtSmsError } from '../rt-sms.errors.js';
import type { RtSmsService } from '../rt-sms.service.js';
import { getRtSmsToken } from '../rt-sms.tokens.js';

/** The part of a request that Express and Fastify have in common. */
interface PlatformRequest {
  method: string;
  ip?: string;
  params?: { secret?: string };
  query?: Record<string, unknown>;
}

/** A query parser of the application may throw. The query is empty then, so that the answer does not reveal the route. */
function queryOf(request: PlatformRequest): Record<string, unknown> {
  try {
    return request.query ?? {};
  } catch {
    return {};
  }
}

/** Thrown for a callback that is not authenticated. */
class RefusedCallback extends Error {}

/** Hands a refused request back to the platform, which answers it as if this route did not exist. */
@Catch(RefusedCallback)
class AnswerAsUnknownRoute implements ExceptionFilter {
  catch(_: RefusedCallback, host: ArgumentsHost): unknown {
    const http = host.switchToHttp();
    const response = http.getResponse<{ callNotFound?: () => unknown }>();
    return response.callNotFound ? response.callNotFound() : http.getNext<() => unknown>()();
  }
}

/**
 * Creates the controller of the provider's callbacks (§3.1) for one account. Routes are metadata of a class, so each
 * registration needs its own class. Nest reads `routes` when it maps routes, after all modules are configured.
 */
export function callbackController(account: string, routes: string[], decorators: readonly ClassDecorator[]): Type {
  const token = getRtSmsToken(account);

  /** Takes the callback in a guard, because guards run before the interceptors and pipes of the application. */
  @Injectable()
  class RtSmsCallbackGuard implements CanActivate {
    constructor(@Inject(token) private readonly sms: RtSmsService) {}

    async canActivate(context: ExecutionContext): Promise<boolean> {
      const request = context.switchToHttp().getRequest<PlatformRequest>();
      const { method, params } = request;
      const from = {
        secret: params?.secret,
        // Express computes the address each time it is read.
        get ip() {
          return request.ip;
        },
      };
      // A HEAD request runs a GET handler on both platforms.
      if (method === 'GET' && (await this.take(queryOf(request), from)) === 'accepted') return true;
      throw new RefusedCallback();
    }

    private async take(...callback: Parameters<RtSmsService['handleCallback']>): Promise<'accepted' | 'refused'> {
      try {
        return await this.sms.handleCallback(...callback);
      } catch (error) {
        // The engine already logs that its store is down. Nest would log a stack for each callback.
        if (isRtSmsError(error)) throw new ServiceUnavailableException();
        throw error;
      }
    }
  }

  @Controller({ path: routes, version: VERSION_NEUTRAL })
  @UseGuards(RtSmsCallbackGuard)
  @UseFilters(AnswerAsUnknownRoute)
  class RtSmsCallbackController {
    @Get()
    @Header('Cache-Control', 'no-store')
    receive(): string {
      return 'ok';
    }
  }
  for (const decorate of decorators) decorate(RtSmsCallbackController);
  return RtSmsCallbackController;
}
