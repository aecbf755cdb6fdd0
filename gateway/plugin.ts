import type { BuyService } from "./buy/service.ts";
import type { TemplatedApp } from "./http/app.ts";
import { BODY_DEADLINE_MS } from "./http/body.ts";
import { buyRoute } from "./http/buy-route.ts";
import { ClientAddresses, type AddressDoubts, type OnAddressDoubt } from "./http/client-address.ts";
import type { Edge } from "./http/exchange.ts";
import { healthRoutes } from "./http/health-routes.ts";
import { HeldAnswers } from "./http/held-answers.ts";
import { Origins } from "./http/origins.ts";
import { mountNotFound, mountRoute } from "./http/route.ts";
import { saleRoute } from "./http/sale-route.ts";
import { mountSocketRoute } from "./http/socket-route.ts";
import { timeRoute } from "./http/time-route.ts";
import type { TicketKeys } from "./identity/ticket.ts";
import { liveRoute } from "./live/live-route.ts";
import { zeroCounts, type OutcomeCounts } from "./buy/outcome-counts.ts";

export interface PluginOptions {
  readonly service: BuyService;
  readonly tickets: TicketKeys;
  /** put before every route, for instance `/flash`; empty by default */
  readonly prefix?: string;
  /**
   * whose word about a client's address is taken (X-Forwarded-For, PROXY protocol v2): how many proxies are in front, or
   * their addresses and networks, `10.0.0.0/8, fd00::/8`; 0 by default
   */
  readonly trustedProxies?: number | string;
  /** the header in which the trusted proxies put the client's address instead, such as `CF-Connecting-IP` */
  readonly addressHeader?: string;
  /** called, at most once a second, when a request may be counted to another address than its client's: settings and proxies differ */
  readonly onAddressDoubt?: OnAddressDoubt;
  /** origins besides our own whose pages may buy and read the answers: exact `scheme://host[:port]`; none by default */
  readonly allowedOrigins?: readonly string[];
  /** answer 404 for every other path below the prefix; by default only if there is a prefix */
  readonly notFound?: boolean;
  /** called with what was thrown inside a handler (the buyer got a 500) */
  readonly onFault?: (error: unknown) => void;
  /** wall clock, ms since 1970 */
  readonly nowMs?: () => number;
  /** how long a request's body may take to arrive whole */
  readonly bodyDeadlineMs?: number;
  /** hand the header `traceparent` to the service with each purchase; by default it is not looked for */
  readonly readsTraceparent?: boolean;
}

/** Doorbuster's routes inside an app. */
export interface Mounted {
  /**
   * `/readyz` says 503 from now on, everything else goes on as before: for the seconds that balancers take to notice, before
   * the listen socket is closed. `drain` says the same.
   */
  announceStop(): void;
  /**
   * Answers what is held, sends every WebSocket away with 1012 and closes each connection with its next answer. Resolves
   * when nothing waits any more. Close the listen socket first, and the app afterwards.
   */
  drain(): Promise<void>;
  /** how often each outcome was answered, by channel */
  readonly answered: { readonly http: OutcomeCounts; readonly live: OutcomeCounts };
  /** requests that may have been counted to another address than their client's */
  readonly addressDoubts: AddressDoubts;
  /** requests that are not answered yet */
  waiting(): number;
  /** open WebSockets */
  sockets(): number;
}

const PREFIX = /^(?:\/[A-Za-z0-9._~-]+)*$/;

/**
 * Mounts the buy path into any uWebSockets.js app: `POST` and `GET <prefix>/buy/:ticket`, `GET <prefix>/sales/:id`,
 * `GET <prefix>/time`, `GET <prefix>/live`, `/healthz`, `/readyz`.
 * @throws TypeError for a prefix that is not a plain path without a slash at its end, for proxies that cannot be meant, and for an
 * allowed origin that is none
 */
export const mountDoorbuster = (app: TemplatedApp, options: PluginOptions): Mounted => {
  const { service, tickets, prefix = "", notFound = prefix !== "", nowMs = Date.now } = options;
  if (!PREFIX.test(prefix)) throw new TypeError(`prefix ${JSON.stringify(prefix)} is not a path such as /flash`);
  const onFault = options.onFault ?? (() => undefined);
  const clients = new ClientAddresses({
    trustedProxies: options.trustedProxies ?? 0,
    addressHeader: options.addressHeader ?? "",
    onDoubt: options.onAddressDoubt ?? (() => undefined),
    onFault,
  });
  let idle: (() => void)[] = [];
  const edge: Edge = {
    clients,
    origins: new Origins({ allowed: options.allowedOrigins ?? [], isBehindProxy: clients.trustsSomebody }),
    bodyDeadlineMs: options.bodyDeadlineMs ?? BODY_DEADLINE_MS,
    readsTraceparent: options.readsTraceparent ?? false,
    onFault,
    waiting: 0,
    stopping: false,
    draining: false,
    onIdle: () => {
      for (const resolve of idle) resolve();
      idle = [];
    },
  };
  const answered = { http: zeroCounts(), live: zeroCounts() };
  const held = new HeldAnswers(service);
  const live = liveRoute(prefix, service, tickets, answered.live, nowMs);
  mountRoute(app, edge, buyRoute(prefix, service, held, answered.http));
  mountRoute(app, edge, saleRoute({ prefix, service, answered: answered.http }));
  mountRoute(app, edge, timeRoute(prefix, nowMs));
  for (const route of healthRoutes(prefix, service, edge)) mountRoute(app, edge, route);
  mountSocketRoute(app, edge, live.route);
  if (notFound) mountNotFound(app, edge, `${prefix}/*`);

  const untilIdle = (): Promise<void> => (edge.waiting === 0 ? Promise.resolve() : new Promise((resolve) => idle.push(resolve)));
  return {
    answered,
    addressDoubts: clients.doubts,
    waiting: () => edge.waiting,
    sockets: () => live.sockets(),
    announceStop: () => {
      edge.stopping = true;
    },
    drain: async () => {
      edge.stopping = true;
      edge.draining = true;
      held.releaseAll();
      await service.drain();
      live.closeAll();
      await untilIdle();
    },
  };
};
