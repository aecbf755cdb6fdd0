import { setTimeout as delay } from "node:timers/promises";
import { connect } from "nats";
import { logSubject, type SaleRecord } from "#protocol";
import { KnownSale } from "../../gateway/index.ts";
import { httpReady, until } from "../../deploy/local/index.ts";
import { message } from "../harness/messages/api.ts";
import { Stimulus } from "./points.ts";
import type { CrashWorld } from "../harness/crash-world.ts";
import { untilHeard, type LiveSale } from "../harness/live-sale.ts";

const HOUR_MS = 3_600_000;
const TURN_MS = 200;
/** A killed store recovers in between. */
const STORE_EVERY_TURNS = 25;
/** The point may kill the program while it starts. */
const START_WITHIN_MS = 60_000;
/** Enough that some belong to each shard. */
const BUYERS_A_UNIT = 8;

/** What a stimulus has to see through after the crash. @returns what is wrong */
type Sequel = () => Promise<readonly string[]>;
const nothingMore: Sequel = () => Promise.resolve([]);

interface Turn {
  readonly world: CrashWorld;
  readonly sale: LiveSale;
  /** aborted when the point was reached, or is given up */
  readonly reached: AbortSignal;
}

/** Does something again and again, whatever comes of it, until the point is reached. */
const repeatUntil = async (reached: AbortSignal, turn: (n: number) => Promise<unknown>): Promise<void> => {
  for (let n = 0; !reached.aborted; n += 1) {
    await turn(n).catch(() => undefined);
    await delay(TURN_MS, undefined, { signal: reached }).catch(() => undefined);
  }
};

const untilStarted = async ({ world, reached }: Turn): Promise<void> => {
  const { coordinator } = await world.stack.info();
  await until(
    async () => reached.aborted || (await httpReady(`${coordinator}/readyz`)),
    "the coordinator to look after the shards",
    START_WITHIN_MS,
  );
};

const sellOut = async ({ world, sale, reached }: Turn): Promise<Sequel> => {
  const units = 5;
  const id = `${sale.id}-small`;
  const now = Date.now();
  const window = { opensAtMs: now - 1_000, closesAtMs: now + HOUR_MS };
  await untilHeard(`${id} to be opened`, () => world.openSale(id, units, window));
  const answers = await Promise.all(Array.from({ length: units * 2 }, (_, n) => world.buy(id, `s${n}`)));
  // Whoever asks about a flagged sale lets the gateway look for its winners.
  await repeatUntil(reached, (n) => world.buy(id, `late${n}`));
  return async () => {
    const again = await Promise.all(answers.map((_, n) => world.buy(id, `s${n}`)));
    const wrong = again.flatMap((answer, n) => (answer.orderId === answers[n]?.orderId ? [] : [`s${n} of ${id} was told another order`]));
    const late = await world.buy(id, "last");
    if (late.code !== "sold_out") wrong.push(`a late buyer of ${id} was told ${late.code}`);
    const { sold, free } = await world.auditAtRest(id);
    return sold === units && free === 0 ? wrong : [...wrong, `${id} sold ${sold} of ${units}`];
  };
};

const move = async ({ world, sale, reached }: Turn): Promise<Sequel> => {
  const units = 6;
  const ids: string[] = [];
  const now = Date.now();
  const buyAll = async (id: string, n: number): Promise<void> => {
    const known = new KnownSale({ id, shards: await world.shardsOf(id) } as SaleRecord);
    const all = Array.from({ length: units * BUYERS_A_UNIT }, (_, buyer) => `m${buyer}`);
    // All belong to one shard, in turns to each: the other's units have to be moved.
    const uids = all.filter((uid) => known.shardOf(uid) === known.record.shards[n % 2]).slice(0, units + 2);
    await Promise.all(uids.map((uid) => world.buy(id, uid)));
  };
  await repeatUntil(reached, async () => {
    const n = ids.length;
    const id = `${sale.id}-dealt-${n}`;
    await world.openSale(id, units, { shardCount: 2, opensAtMs: now - 1_000, closesAtMs: now + HOUR_MS });
    ids.push(id);
    await buyAll(id, n);
  });
  return async () => {
    const wrong: string[] = [];
    for (const [n, id] of ids.entries()) {
      // Whose sale could not be asked about when a program had died comes now; the others hear of it again.
      await untilHeard(`${id} to be sold out`, () => buyAll(id, n));
      const { sold, free, total } = await world.auditAtRest(id);
      if (sold !== units || free !== 0) wrong.push(`${id} sold ${sold} of ${total}, ${free} are free`);
    }
    return wrong;
  };
};

const manage = async ({ world, sale, reached }: Turn): Promise<Sequel> => {
  const id = `${sale.id}-managed`;
  const now = Date.now();
  const definition = { id, title: id, units: 10, opensAtMs: now - 1_000, closesAtMs: now + HOUR_MS };
  await repeatUntil(reached, async (n) => {
    await world.admin("/sales", definition);
    await world.admin(`/sales/${id}/units`, { grantId: `more${n % 3}`, units: 1 });
    await world.admin(`/sales/${id}/state`, { state: n % 2 === 0 ? "paused" : "open" });
  });
  return async () => {
    // Repeated as an operator would who heard nothing: the same requests, with the same ids.
    const turns = [
      () => world.admin("/sales", definition),
      ...[0, 1, 2].map((n) => () => world.admin(`/sales/${id}/units`, { grantId: `more${n}`, units: 1 })),
      () => world.admin(`/sales/${id}/state`, { state: "open" }),
    ];
    for (const turn of turns) await untilHeard(`${id} to be managed`, turn);
    await until(async () => (await world.buy(id, "first")).orderId !== undefined, `${id} to sell`, START_WITHIN_MS, TURN_MS);
    await until(async () => (await world.auditAtRest(id)).free === 12, `${id} to have all its units`, START_WITHIN_MS, TURN_MS);
    return [];
  };
};

const PAY_WITHIN_MS = 1_000;

const end = async ({ world, sale, reached }: Turn): Promise<Sequel> => {
  const id = `${sale.id}-ended`;
  const now = Date.now();
  const definition = { id, title: id, units: 1_000, payWithinMs: PAY_WITHIN_MS, opensAtMs: now - 1_000, closesAtMs: now + HOUR_MS };
  const heard = (path: string, body: unknown): Promise<unknown> => untilHeard(`${path} to be answered`, () => world.admin(path, body));
  await heard("/sales", definition);
  const payments = new Map<string, object>();
  // One is paid, the next cancelled, the third expires.
  await repeatUntil(reached, async (n) => {
    const uid = `e${n}`;
    const { orderId } = await world.once("POST", world.urlOf(id, uid));
    if (orderId === undefined || n % 3 === 2) return;
    await world.final(id, uid);
    const address = { saleId: id, uid };
    if (n % 3 === 1) {
      await world.admin(`/orders/${orderId}/cancel`, address);
      return;
    }
    const payment = { ...address, paymentId: `${id}/${uid}` };
    payments.set(orderId, payment);
    await world.admin(`/orders/${orderId}/payments`, payment);
  });
  return async () => {
    let kept = 0;
    for (const [orderId, payment] of payments) {
      const { decision } = (await heard(`/orders/${orderId}/payments`, payment)) as { readonly decision: string };
      if (decision !== "refund") kept += 1;
    }
    await until(async () => (await world.auditAtRest(id)).sold === kept, `${id} to have sold what is paid`, START_WITHIN_MS, TURN_MS);
    return [];
  };
};

const archive = async ({ world, sale, reached }: Turn): Promise<Sequel> => {
  const ids: string[] = [];
  const heard = (path: string, body: unknown): Promise<unknown> => untilHeard(`${path} to be answered`, () => world.admin(path, body));
  const finish = async (id: string): Promise<void> => {
    await heard(`/sales/${id}/state`, { state: "closed" });
    await untilHeard(`${id} to be archived`, () => world.admin(`/sales/${id}/state`, { state: "archived" }));
  };
  const now = Date.now();
  await repeatUntil(reached, async () => {
    const id = `${sale.id}-over-${ids.length}`;
    await world.openSale(id, 2, { opensAtMs: now - 1_000, closesAtMs: now + HOUR_MS });
    const { orderId } = await world.buy(id, "first");
    if (orderId === undefined) return;
    ids.push(id);
    await world.final(id, "first");
    await world.admin(`/orders/${orderId}/payments`, { saleId: id, uid: "first", paymentId: `${id}/first` });
    await world.admin(`/sales/${id}/state`, { state: "closed" });
    await world.admin(`/sales/${id}/state`, { state: "archived" });
  });
  return async () => {
    const wrong: string[] = [];
    for (const id of ids) {
      const { orderId } = await world.final(id, "first");
      await heard(`/orders/${orderId}/payments`, { saleId: id, uid: "first", paymentId: `${id}/first` });
      await finish(id);
      const again = await world.buy(id, "first");
      if (again.orderId !== orderId) wrong.push(`first of ${id} was told ${again.code} ${again.orderId} after ${orderId}`);
      const { sold, free } = await world.auditAtRest(id);
      if (sold !== 1 || free !== 1) wrong.push(`${id} sold ${sold}, ${free} are free`);
    }
    return wrong;
  };
};

const ask = async ({ world, sale, reached }: Turn): Promise<Sequel> => {
  await repeatUntil(reached, async (n) => {
    await world.once("GET", world.urlOf(sale.id, "b0"));
    await world.once("POST", world.urlOf(`none-${n}`, "b0"));
  });
  return nothingMore;
};

const sendMessages = async ({ world, sale, reached }: Turn): Promise<Sequel> => {
  const coordinator = world.coordinator ?? (await world.stack.info()).coordinator;
  const { services } = world;
  const branch = services.on("/branch", (_received, response) => void response.writeHead(200).end());
  const query = services.on("/query", (received, response) => {
    response.writeHead(received.query["gid"]?.endsWith("-no") === true ? 409 : 200).end();
  });
  const post = async (call: string, body: unknown): Promise<boolean> => {
    const response = await fetch(`${coordinator}/api/dtmsvr/${call}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(3_000),
    });
    await response.arrayBuffer();
    return response.ok;
  };
  const submitted: string[] = [];
  const prepared: string[] = [];
  await repeatUntil(reached, async (n) => {
    const gid = `${sale.id}-${n}`;
    submitted.push(`${gid}-submitted`);
    await post("submit", message(`${gid}-submitted`, [[branch, "{}"]])).catch(() => false);
    for (const end of ["yes", "no"]) {
      const done = await post("prepare", message(`${gid}-${end}`, [[branch, "{}"]], { query_prepared: query })).catch(() => false);
      if (done && end === "yes") prepared.push(`${gid}-yes`);
    }
  });
  return async () => {
    for (const gid of submitted) {
      // Silence is not an answer: submitted again until it is heard, or delivered and forgotten.
      const heard = async (): Promise<boolean> =>
        services.at("/branch", gid).length > 0 || (await post("submit", message(gid, [[branch, "{}"]])).catch(() => false));
      await until(heard, `${gid} to be submitted`, START_WITHIN_MS, TURN_MS);
    }
    for (const gid of [...submitted, ...prepared])
      await until(() => services.at("/branch", gid).length > 0, `the branch of ${gid} to be called`, START_WITHIN_MS);
    return services.received.some(({ path, query: { gid } }) => path === "/branch" && gid?.endsWith("-no") === true)
      ? ["the branch of a message was called whose local step did not happen"]
      : [];
  };
};

const garbage = async ({ world, reached }: Turn): Promise<Sequel> => {
  const { nats, redis } = await world.stack.info();
  const connection = await connect({ servers: nats.url, user: nats.user ?? "", pass: nats.pass ?? "" });
  await repeatUntil(reached, async () => {
    for (const shard of redis.keys()) await connection.jetstream().publish(logSubject(shard), "nonsense");
  });
  await connection.close();
  return nothingMore;
};

const rebuild = async (turn: Turn): Promise<Sequel> => {
  await untilStarted(turn);
  const release = await turn.sale.crowd.hold();
  await turn.world.auditAtRest(turn.sale.id);
  await turn.world.killRedis(true);
  release();
  return nothingMore;
};

const keep = async (turn: Turn): Promise<Sequel> => {
  await untilStarted(turn);
  // Again, because the first time the relay may not have been at work yet.
  await repeatUntil(turn.reached, async (n) => {
    if (n % STORE_EVERY_TURNS === 0) await turn.world.killRedis(false);
  });
  return nothingMore;
};

const killPostgres = async (turn: Turn): Promise<Sequel> => {
  await untilStarted(turn);
  await repeatUntil(turn.reached, async (n) => {
    if (n % STORE_EVERY_TURNS === 0) turn.world.stack.kill("postgres");
  });
  return nothingMore;
};

const stopCoordinator = async (turn: Turn): Promise<Sequel> => {
  await untilStarted(turn);
  turn.world.stack.kill("coordinator", "SIGTERM");
  return nothingMore;
};

/** Makes a program come to a point; resolves when it was reached or given up, with what has to be seen through then. */
export const stimuli: Readonly<Record<Stimulus, (turn: Turn) => Promise<Sequel>>> = {
  [Stimulus.sell]: () => Promise.resolve(nothingMore),
  [Stimulus.keep]: keep,
  [Stimulus.rebuild]: rebuild,
  [Stimulus.sellOut]: sellOut,
  [Stimulus.move]: move,
  [Stimulus.manage]: manage,
  [Stimulus.end]: end,
  [Stimulus.ask]: ask,
  [Stimulus.archive]: archive,
  [Stimulus.message]: sendMessages,
  [Stimulus.garbage]: garbage,
  [Stimulus.postgres]: killPostgres,
  [Stimulus.stop]: stopCoordinator,
};
