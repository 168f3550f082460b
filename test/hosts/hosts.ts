import fastifyCompress from '@fastify/compress';
import fastifyHelmet from '@fastify/helmet';
import {
  Catch,
  Controller,
  Get,
  HttpException,
  Inject,
  Injectable,
  Query,
  SetMetadata,
  UnauthorizedException,
  ValidationPipe,
  VersioningType,
  type ArgumentsHost,
  type CallHandler,
  type CanActivate,
  type ExceptionFilter,
  type ExecutionContext,
  type INestApplication,
  type ModuleMetadata,
  type NestApplicationOptions,
  type NestInterceptor,
} from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR, HttpAdapterHost, Reflector } from '@nestjs/core';
import { JwtModule, JwtService } from '@nestjs/jwt';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { FastifyAdapter, NestFastifyApplication } from '@nestjs/platform-fastify';
import { SkipThrottle, ThrottlerGuard, ThrottlerModule } from '@nestjs/throttler';
import { IsOptional, IsString } from 'class-validator';
import compression from 'compression';
import helmet from 'helmet';
import type { RtSmsExtras, RtSmsOptions } from 'nestjs-rt-sms';
import { map, type Observable } from 'rxjs';
import type { Platform } from '../platforms.js';

/** An application with special settings, and what its author does so that callbacks arrive. */
export interface Host {
  metadata?: () => ModuleMetadata;
  options?: NestApplicationOptions;
  /** Options of the Fastify adapter; Express is configured in `setUp`. */
  fastify?: NonNullable<ConstructorParameters<typeof FastifyAdapter>[0]>;
  setUp?: (app: INestApplication, platform: Platform) => void | Promise<void>;
  sms?: Partial<RtSmsOptions & RtSmsExtras>;
}

const PADDING = 'x'.repeat(2_000);

class OrdersQuery {
  @IsOptional() @IsString() page?: string;
}

/** A route of the application. */
@Controller('orders')
export class OrdersController {
  @Get()
  list(@Query() { page }: OrdersQuery): object {
    if (page === 'torn') throw new Error('torn');
    return { orders: [], padding: PADDING };
  }
}

const Public = () => SetMetadata('public', true);

@Injectable()
class JwtGuard implements CanActivate {
  constructor(
    @Inject(Reflector) private readonly reflector: Reflector,
    @Inject(JwtService) private readonly jwt: JwtService,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    if (this.reflector.getAllAndOverride<boolean>('public', [context.getHandler(), context.getClass()])) return true;
    const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string | undefined> }>();
    try {
      await this.jwt.verifyAsync((headers['authorization'] ?? '').replace(/^Bearer /, ''));
      return true;
    } catch {
      throw new UnauthorizedException();
    }
  }
}

@Injectable()
class WrapResponse implements NestInterceptor {
  intercept(_: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(map((data: unknown) => ({ success: true, data })));
  }
}

@Catch()
@Injectable()
class CatchAll implements ExceptionFilter {
  constructor(@Inject(HttpAdapterHost) private readonly host: HttpAdapterHost) {}

  catch(exception: unknown, host: ArgumentsHost): void {
    const { httpAdapter } = this.host;
    const status = exception instanceof HttpException ? exception.getStatus() : 418;
    const path: unknown = httpAdapter.getRequestUrl(host.switchToHttp().getRequest());
    httpAdapter.reply(host.switchToHttp().getResponse(), { success: false, path, message: String(exception) }, status);
  }
}

const jwt = () => ({
  imports: [JwtModule.register({ secret: 'of the application' })],
  providers: [{ provide: APP_GUARD, useClass: JwtGuard }],
});
const throttler = (limit: number) => ({
  imports: [ThrottlerModule.forRoot([{ ttl: 60_000, limit }])],
  providers: [{ provide: APP_GUARD, useClass: ThrottlerGuard }],
});
const strictPipe = () => new ValidationPipe({ whitelist: true, forbidNonWhitelisted: true, transform: true });
// Fastify's plugins affect only the routes that are registered after them.
async function compress(app: INestApplication, platform: Platform) {
  if (platform === 'express') app.use(compression());
  else await (app as NestFastifyApplication).register(fastifyCompress);
}
async function secureHeaders(app: INestApplication, platform: Platform) {
  if (platform === 'express') app.use(helmet());
  else await (app as NestFastifyApplication).register(fastifyHelmet);
}
const CORS = { origin: ['https://shop.example'], credentials: true };

export const HOSTS = {
  'nothing of its own': {},
  'a global ValidationPipe that forbids': {
    setUp: (app) => void app.useGlobalPipes(strictPipe()),
  },
  'a JWT guard, @Public()': {
    metadata: jwt,
    sms: { callbackDecorators: [Public()] },
  },
  'a throttler, @SkipThrottle()': {
    metadata: () => throttler(3),
    sms: { callbackDecorators: [SkipThrottle()] },
  },
  'a global prefix': {
    setUp: (app) => void app.setGlobalPrefix('api/shop'),
  },
  'a global prefix that the callback is excluded from': {
    setUp: (app) => void app.setGlobalPrefix('api', { exclude: ['rt-sms{/*rest}'] }),
  },
  'URI versioning': {
    setUp: (app) => void app.enableVersioning({ type: VersioningType.URI, defaultVersion: '2' }),
  },
  'header versioning': {
    setUp: (app) =>
      void app.enableVersioning({ type: VersioningType.HEADER, header: 'x-version', defaultVersion: '2' }),
  },
  'an interceptor that wraps answers': {
    metadata: () => ({ providers: [{ provide: APP_INTERCEPTOR, useClass: WrapResponse }] }),
  },
  'an exception filter that catches all': {
    metadata: () => ({ providers: [{ provide: APP_FILTER, useClass: CatchAll }] }),
  },
  rawBody: {
    options: { rawBody: true },
  },
  'a trusted proxy, and allowFrom': {
    fastify: { trustProxy: '127.0.0.1' },
    setUp: (app, platform) => {
      if (platform === 'express') (app as NestExpressApplication).set('trust proxy', '127.0.0.1');
    },
    sms: { callback: { allowFrom: ['203.0.113.0/24'] } },
  },
  'a slash at the end ignored': {
    fastify: { routerOptions: { ignoreTrailingSlash: true } },
  },
  compression: {
    setUp: compress,
  },
  CORS: {
    setUp: (app) => app.enableCors(CORS),
  },
  helmet: {
    setUp: secureHeaders,
  },
  'all of it at once': {
    metadata: () => ({
      imports: [...jwt().imports, ...throttler(3).imports],
      providers: [
        ...jwt().providers,
        ...throttler(3).providers,
        { provide: APP_INTERCEPTOR, useClass: WrapResponse },
        { provide: APP_FILTER, useClass: CatchAll },
      ],
    }),
    options: { rawBody: true },
    fastify: { trustProxy: '127.0.0.1' },
    setUp: async (app, platform) => {
      if (platform === 'express') (app as NestExpressApplication).set('trust proxy', '127.0.0.1');
      app.useGlobalPipes(strictPipe());
      app.setGlobalPrefix('api');
      app.enableVersioning({ type: VersioningType.URI, defaultVersion: '2' });
      app.enableCors(CORS);
      await compress(app, platform);
      await secureHeaders(app, platform);
    },
    sms: { callback: { allowFrom: ['203.0.113.0/24'] }, callbackDecorators: [Public(), SkipThrottle()] },
  },
} satisfies Record<string, Host>;
export type HostName = keyof typeof HOSTS;
