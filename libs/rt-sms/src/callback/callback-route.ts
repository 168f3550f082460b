import type { AbstractHttpAdapter } from '@nestjs/core';

/** The parts of Express 5 and Fastify 5 that are used here. Nest reads the same of Express' router. */
interface Express {
  router: { strict?: boolean; stack: { route?: { path: unknown } }[] };
}
interface FastifyRoute {
  method: string | string[];
  url: string;
  handler: unknown;
  config?: object;
  constraints?: object;
}
interface RouterOptions {
  ignoreTrailingSlash?: boolean;
}
interface Fastify {
  initialConfig: RouterOptions & { routerOptions?: RouterOptions };
  addHook(name: 'onRoute', run: (route: FastifyRoute) => void): void;
  route(route: FastifyRoute): void;
}

/** Express with strict routing tells a path with a slash at its end from one without, unless the slash is optional. */
const OPTIONAL_SLASH = '{/}';

/** The one route of an account's callback: its path below the prefixes of the application, and its place in the router. */
export class CallbackRoute {
  /** The path from the root, without the secret, once the router has the route. */
  path: string | undefined;
  private readonly route: string;

  /** `path` is without slashes at its ends; `others` are those of the application's other accounts. */
  constructor(
    private readonly ownPath: string,
    hasSecret: boolean,
    private readonly others: readonly string[],
  ) {
    this.route = hasSecret ? `${ownPath}/:secret` : ownPath;
  }

  /** Returns the path to map, and watches where the platform puts it. To be called before Nest maps routes. */
  prepare(adapter: AbstractHttpAdapter): string {
    if (adapter.getType() === 'fastify') {
      this.watch(adapter.getInstance<Fastify>());
    } else if (adapter.getType() === 'express' && adapter.getInstance<Express>().router.strict) {
      return `${this.route}${OPTIONAL_SLASH}`;
    }
    return this.route;
  }

  /** Looks the route up where the platform has mapped it. To be called once Nest has mapped routes. */
  locate(adapter: AbstractHttpAdapter): void {
    if (adapter.getType() !== 'express') return;
    for (const { route } of adapter.getInstance<Express>().router.stack) {
      if (typeof route?.path === 'string') this.see(route.path);
    }
  }

  /** Fastify tells the two forms of a path apart: the one with a slash at its end gets the same handler. */
  private watch(fastify: Fastify): void {
    const { ignoreTrailingSlash, routerOptions } = fastify.initialConfig;
    const takesBoth = routerOptions?.ignoreTrailingSlash ?? ignoreTrailingSlash;
    fastify.addHook('onRoute', ({ method, url, handler, config, constraints }) => {
      if (method !== 'GET' || !this.see(url) || takesBoth) return;
      fastify.route({
        method,
        url: `${url}/`,
        handler,
        ...(config && { config }),
        ...(constraints && { constraints }),
      });
    });
  }

  /** True if the router's path `url` is that of this account's callback, below whatever prefix. */
  private see(url: string): boolean {
    const ends = (path: string) => `/${path}`;
    const route = url.endsWith(OPTIONAL_SLASH) ? url.slice(0, -OPTIONAL_SLASH.length) : url;
    if (!route.endsWith(ends(this.route))) return false;
    const path = route.slice(0, route.length - (this.route.length - this.ownPath.length));
    // The path of another account may end with the one of this account.
    if (this.others.some((other) => other.endsWith(ends(this.ownPath)) && path.endsWith(ends(other)))) return false;
    this.path ??= path;
    return true;
  }
}
