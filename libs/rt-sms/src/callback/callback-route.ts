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

/** Makes a trailing slash optional in Express with strict routing. */
const OPTIONAL_SLASH = '{/}';

/** Route of an account's callback. The router is the source of its full path, with all prefixes of the application. */
export class CallbackRoute {
  /** Full path without the secret, once the router has the route. */
  path: string | undefined;
  private readonly route: string;

  /** `ownPath` has no slashes at its ends; `others` are the callback paths of the application's other accounts. */
  constructor(
    private readonly ownPath: string,
    hasSecret: boolean,
    private readonly others: readonly string[],
  ) {
    this.route = hasSecret ? `${ownPath}/:secret` : ownPath;
  }

  /** Returns the path to map, and observes where Fastify mounts it. Call it before Nest maps routes. */
  prepare(adapter: AbstractHttpAdapter): string {
    if (adapter.getType() === 'fastify') {
      this.watch(adapter.getInstance<Fastify>());
    } else if (adapter.getType() === 'express' && adapter.getInstance<Express>().router.strict) {
      return `${this.route}${OPTIONAL_SLASH}`;
    }
    return this.route;
  }

  /** Finds the route in the router of Express. Call it after Nest has mapped routes. */
  locate(adapter: AbstractHttpAdapter): void {
    if (adapter.getType() !== 'express') return;
    for (const { route } of adapter.getInstance<Express>().router.stack) {
      if (typeof route?.path === 'string') this.matches(route.path);
    }
  }

  /** Mounts the handler a second time with a trailing slash, because Fastify treats the two forms as different paths. */
  private watch(fastify: Fastify): void {
    const { ignoreTrailingSlash, routerOptions } = fastify.initialConfig;
    const takesBoth = routerOptions?.ignoreTrailingSlash ?? ignoreTrailingSlash;
    fastify.addHook('onRoute', ({ method, url, handler, config, constraints }) => {
      if (method !== 'GET' || !this.matches(url) || takesBoth) return;
      fastify.route({
        method,
        url: `${url}/`,
        handler,
        ...(config && { config }),
        ...(constraints && { constraints }),
      });
    });
  }

  /** True if `url` is the path of this account's callback, below any prefix. Stores it as `path`. */
  private matches(url: string): boolean {
    const ends = (path: string) => `/${path}`;
    const route = url.endsWith(OPTIONAL_SLASH) ? url.slice(0, -OPTIONAL_SLASH.length) : url;
    if (!route.endsWith(ends(this.route))) return false;
    const path = route.slice(0, route.length - (this.route.length - this.ownPath.length));
    // The path of another account may end with the path of this account.
    if (this.others.some((other) => other.endsWith(ends(this.ownPath)) && path.endsWith(ends(other)))) return false;
    this.path ??= path;
    return true;
  }
}
