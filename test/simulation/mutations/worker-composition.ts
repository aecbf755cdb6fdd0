import type { WorkerPorts } from "../../../workers/compose.ts";
import type { Mutation } from "./mutation.ts";
import { SETTLED_TWICE } from "./directed.ts";
import { RESTARTS } from "./profiles.ts";

const without = (change: (ports: WorkerPorts) => Partial<WorkerPorts>) => () => ({
  workerPorts: (ports: WorkerPorts): WorkerPorts => ({ ...ports, ...change(ports) }),
});

const never = (): Promise<never> => new Promise(() => undefined);
const unheard = async (): Promise<{ readonly status: "ok" }> => ({ status: "ok" });

/**
 * Parts of workers/compose.ts, each left out: whoever calls a port has gone, so nothing comes through it. Not here, because
 * no promise can see it:
 * - what only comes sooner: the wake-ups (`changed`, `onMoved`), and KnownPositions, which saves looks at a row;
 * - status events: whoever waits for one looks for itself when none comes (apply/applier.test.ts sees that they are sent);
 * - the queue of rebuilds: it bounds how many run at a time, and no schedule has more shards than may run at once
 *   (restore/queue.test.ts);
 * - the expiry of orders and the bucket of sales: simulated orders have no time to be paid within, and simulated gateways
 *   are given their sales. test/scenarios/orders.test.ts misses either in the program.
 */
export const WORKER_COMPOSITION: readonly Mutation[] = [
  {
    name: "composition: worker's appliers left out",
    rule: "a worker applies the log of every shard",
    twins: without(({ shards }) => ({ shards: shards.map((shard) => ({ ...shard, deliveries: { ...shard.deliveries, next: never } })) })),
  },
  {
    name: "composition: worker's settler left out",
    rule: "what is applied is settled in Redis",
    twins: without(({ shards }) => ({ shards: shards.map((shard) => ({ ...shard, settle: unheard })) })),
    profile: SETTLED_TWICE,
  },
  {
    name: "composition: worker's sweep settles nothing",
    rule: "what is applied is settled in Redis again until Redis has it",
    twins: without(({ sweep }) => ({ sweep: { ...sweep, shards: { ...sweep.shards, settle: unheard } } })),
    profile: SETTLED_TWICE,
  },
  {
    name: "composition: worker's sweep left out",
    rule: "definitions and units that Postgres has recorded come to Redis",
    twins: without(({ sweep }) => ({ sweep: { ...sweep, store: { ...sweep.store, undelivered: never } } })),
  },
  {
    name: "composition: worker's restore left out",
    rule: "a worker rebuilds a shard that it is asked to rebuild",
    twins: without(({ restore }) => ({ restore: { ...restore, source: { row: never, snapshot: never } } })),
    profile: RESTARTS,
  },
];
