import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { generatorOf, send, type Sent } from "../load/send.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { answeredSince, expectAnswered } from "../servers/answered.ts";
import { startFront, type Front } from "../servers/front.ts";
import { interleaved } from "../trials.ts";
import { memoryOf } from "../usage.ts";
import { newBuyers } from "./buyers.ts";

/** What spans of one purchase in a hundred cost a gateway: two of them in turn, the reference without tracing. */
const SALE = "tracing";
const CONNECTIONS = 512;
/** Buyers made for each second of a run: more than this machine's cores could decide. */
const BUYERS_A_SECOND = 160_000;
const UNITS = 100_000_000;
const WARM_UP_S = 2;
const SHARE = 0.01;

const ENTRIES = [
  { entry: "tracing", share: SHARE, what: "a new buyer buys over HTTP and wins; 1 % of the purchases are traced" },
  { entry: "tracing.none", share: 0, what: "the same without tracing on either side: how far such a measurement can be off" },
] as const;

/** Takes spans and forgets them. */
const openCollector = async (): Promise<Server> => {
  const server = createServer((request, response) => {
    request.resume().on("end", () => response.writeHead(200, { "content-type": "application/json" }).end("{}"));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
};

const measure = async (bench: Bench, ours: Front, reference: Front, { what }: (typeof ENTRIES)[number]): Promise<Entry> => {
  const side = async (name: string, front: Front, seconds: number): Promise<Sent> => {
    bench.step(name);
    const requests = newBuyers(front.ticketKeys, SALE, BUYERS_A_SECOND * seconds);
    const load = { host: front.host, port: front.port, requests, connections: CONNECTIONS, pipelining: 1, seconds };
    const before = await front.answered();
    const sent = await send(bench, load, await front.watched(), front.run.folder);
    expectAnswered(answeredSince(await front.answered(), before), ["reserved"], 1);
    return sent;
  };
  for (const front of [ours, reference]) {
    await front.openSale(SALE, UNITS);
    await side("warm-up", front, WARM_UP_S);
  }
  const outcome = await interleaved({
    runs: bench.runs,
    ours: () => side("traced", ours, bench.runSeconds),
    reference: () => side("not traced", reference, bench.runSeconds),
  });
  return entryOf({
    ...outcome,
    what,
    unit: "decisions",
    reference: "the same gateway without DOORBUSTER_TRACE_URL",
    generator: generatorOf(bench, { connections: CONNECTIONS, pipelining: 1 }),
    memoryBytes: await memoryOf(await ours.watched()),
    durability: "Redis appendfsync always: on disk before the answer",
    notes: ["gateway, one shard, the generator and whoever takes the spans share the machine"],
  });
};

export const tracing: Scenario = {
  entries: ENTRIES.map(({ entry }) => entry),
  run: async (bench, entries) => {
    for (const asked of ENTRIES) {
      if (!bench.wants(asked.entry)) continue;
      const collector = await openCollector();
      const url = `http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/traces`;
      const start = (environment: Bench["environment"]): Promise<Front> =>
        startFront({ ...bench, environment, say: (line) => bench.step(line), shards: 1, processes: 0, appendfsync: "always" });
      const fronts: Front[] = [];
      try {
        fronts.push(await start({ ...bench.environment, DOORBUSTER_TRACE_URL: url, DOORBUSTER_TRACE_SHARE: String(asked.share) }));
        fronts.push(await start(bench.environment));
        entries[asked.entry] = await measure(bench, fronts[0] as Front, fronts[1] as Front, asked);
      } finally {
        for (const front of fronts) await front.stop();
        collector.closeAllConnections();
        collector.close();
      }
    }
  },
};
