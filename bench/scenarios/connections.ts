import { availableParallelism } from "node:os";
import { generatorOf, send } from "../load/send.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { startFront, type Front } from "../servers/front.ts";
import { inTurns, type Trial } from "../trials.ts";
import { CONNECTIONS_A_LANE } from "./scale.ts";

/**
 * What a request costs a gateway for the number of its buyers' connections alone: `scale` gives a house of more shards more
 * of them, so this is in its figures. A sale is read, for which no shard is asked.
 */
const ENTRY = "scale.connections";
/** as many connections as `scale` has for so many shards */
const SHARDS = [1, 2, 4, 8];
const SALE = "connections";
const WARM_UP_S = 1;

const connectionsOf = (shards: number): number => CONNECTIONS_A_LANE * shards * availableParallelism();

const load = async (bench: Bench, front: Front, connections: number, seconds: number): Promise<Trial> => {
  bench.step(`reads on ${connections} connections`);
  const requests = { kind: "same", method: "GET", path: `/sales/${SALE}` } as const;
  const volley = { host: front.host, port: front.port, requests, connections, pipelining: 1, seconds };
  const sent = await send(bench, volley, await front.watched(), front.run.folder);
  if (sent.refused > 0) throw new Error(`${sent.refused} of ${sent.count} reads were refused`);
  return sent;
};

const measure = async (bench: Bench, front: Front): Promise<Entry> => {
  const counts = SHARDS.map(connectionsOf);
  const few = Math.min(...counts);
  const most = Math.max(...counts);
  await load(bench, front, few, WARM_UP_S);
  const { all, outcome } = await inTurns(bench.runs, counts, (connections) => load(bench, front, connections, bench.runSeconds));
  return entryOf({
    ...outcome,
    what: `GET /sales/:id on ${most} connections, one gateway process a core`,
    unit: "reads",
    reference: `the same on ${few} connections`,
    generator: generatorOf(bench, { connections: most, pipelining: 1 }),
    numbers: Object.fromEntries(all.map(({ value, cpuMicros }) => [`microsPerRead${value}`, Math.round((cpuMicros ?? 0) * 100) / 100])),
  });
};

export const connections: Scenario = {
  entries: [ENTRY],
  run: async (bench, entries) => {
    const say = (line: string): void => bench.step(line);
    const front = await startFront({ environment: bench.environment, say, shards: 1, processes: 0, appendfsync: "always" });
    try {
      await front.openSale(SALE, 1);
      entries[ENTRY] = await measure(bench, front);
    } finally {
      await front.stop();
    }
  },
};
