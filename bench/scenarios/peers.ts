import { beginRun } from "../../deploy/local/index.ts";
import { addresses, requestText } from "../load/prepared-requests.ts";
import { latency, latencyCurve } from "../load/latency.ts";
import { generatorOf, send, type Sent, type Load } from "../load/send.ts";
import { answersOf } from "../load/order.ts";
import { startDtmPeer, startNodePeer, startPostgresPeer, type Peer, type StartPeer } from "../peers/peer.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { rawAnswer, statusOf } from "../servers/answer-bytes.ts";
import { startWhole, type Whole } from "../servers/whole.ts";
import { interleaved } from "../trials.ts";
import { until } from "../../deploy/local/index.ts";
import { newBuyers } from "./buyers.ts";

/** The same purchases, one at a time on each connection, sent to ours (the whole stack) and to what people use instead. */
const PEERS: readonly { readonly entry: string; readonly name: string; readonly start: StartPeer }[] = [
  { entry: "peer.dtm.shipped", name: "dtm's flash sale (Go) as it ships", start: (run) => startDtmPeer(run, "shipped") },
  { entry: "peer.dtm", name: "dtm's flash sale (Go), its client tuned", start: (run) => startDtmPeer(run, "tuned") },
  { entry: "peer.node", name: "Fastify + ioredis EVAL + BullMQ + Postgres", start: startNodePeer },
  { entry: "peer.postgres", name: "Fastify + Postgres UPDATE ... WHERE amount > 0", start: startPostgresPeer },
];
const refusals = (entry: string): string => `${entry}.refusals`;

const CONNECTIONS = 64;
/** An open loop needs as many as are on their way when somebody stalls. */
const OPEN_CONNECTIONS = 512;
const BUYERS_A_SECOND = 80_000;
const UNITS = 100_000_000;
const WARM_UP_S = 1;
const SOLD_OUT = "peers-sold-out";

let wins = 0;

const sendTo = (
  bench: Bench,
  to: Pick<Load, "port" | "requests" | "seconds">,
  watched: Parameters<typeof send>[2],
  folder: string,
): Promise<Sent> => send(bench, { host: "127.0.0.1", connections: CONNECTIONS, pipelining: 1, ...to }, watched, folder);

const ourWins = async (bench: Bench, whole: Whole, seconds: number): Promise<Sent> => {
  bench.step("wins: ours");
  const saleId = `peers-${(wins += 1)}`;
  await whole.openSale(saleId, UNITS);
  const requests = newBuyers(whole.ticketKeys, saleId, BUYERS_A_SECOND * seconds);
  const sent = await sendTo(bench, { port: whole.port, requests, seconds }, await whole.watched(), whole.folder);
  if (sent.refused > 0) throw new Error(`${sent.refused} of ${sent.count} buyers were refused`);
  // The orders that are still on their way would slow the other side down.
  await whole.untilSold(saleId, sent.count);
  return sent;
};

const requestsTo = (peer: Peer, buyers: number): Load["requests"] =>
  peer.knowsBuyers ? newBuyers("", "", buyers) : { kind: "same", method: "POST", path: "/buy" };

const peerWins = async (bench: Bench, peer: Peer, seconds: number, folder: string): Promise<Sent> => {
  bench.step("wins: the peer");
  await peer.restock(UNITS);
  const requests = requestsTo(peer, BUYERS_A_SECOND * seconds);
  const sent = await sendTo(bench, { port: peer.port, requests, seconds }, await peer.watched(), folder);
  if (sent.refused > sent.count / 1_000) throw new Error(`the peer refused ${sent.refused} of ${sent.count}`);
  await peer.settle(sent.count);
  return sent;
};

/** Somebody who comes too late, again and again. */
const refused = (sent: Sent): Sent => {
  if (sent.refused < sent.count * 0.999) throw new Error(`${sent.count - sent.refused} of ${sent.count} answers were no refusals`);
  return sent;
};

const latePath = (whole: Whole): string => {
  const [ticket = ""] = addresses({ keys: whole.ticketKeys, saleId: SOLD_OUT, prefix: "late-", count: 1 });
  return `/buy/${ticket}`;
};

/** The only unit is sold, and the gateway has heard of it. */
const sellOut = async (whole: Whole): Promise<void> => {
  await whole.openSale(SOLD_OUT, 1);
  const [ticket = ""] = addresses({ keys: whole.ticketKeys, saleId: SOLD_OUT, prefix: "first-", count: 1 });
  await rawAnswer(whole.port, requestText("POST", `/buy/${ticket}`, whole.host));
  await until(
    async () => {
      const shown = await fetch(`${whole.info.gateway}/sales/${SOLD_OUT}`, { headers: { connection: "close" } });
      return ((await shown.json()) as { soldOut?: boolean }).soldOut === true;
    },
    "the sale to be sold out",
    20_000,
    50,
  );
  const late = await rawAnswer(whole.port, requestText("POST", latePath(whole), whole.host));
  if (statusOf(late) !== 409) throw new Error(`a late buyer heard ${late}`);
};

/** Of wins, ours and the peer's at the same arrivals: half of what the peer can do. */
const latencies = async (
  bench: Bench,
  whole: Whole,
  peer: Peer,
  most: number,
): Promise<Pick<Entry, "latencyPerSecond" | "p50Ms" | "p99Ms" | "referenceP50Ms" | "referenceP99Ms" | "curves">> => {
  const perSecond = most / 2;
  const seconds = bench.runSeconds;
  const buyers = Math.ceil(perSecond * (seconds + 2));
  const open = { host: "127.0.0.1", connections: OPEN_CONNECTIONS, pipelining: 1, seconds };
  bench.step(`latency of wins at ${Math.round(perSecond)} a second: ours`);
  const saleId = `peers-${(wins += 1)}`;
  await whole.openSale(saleId, UNITS);
  const mine = await latency({ ...open, port: whole.port, requests: newBuyers(whole.ticketKeys, saleId, buyers) }, perSecond, {});
  bench.step(`latency of wins at ${Math.round(perSecond)} a second: the peer`);
  await peer.restock(UNITS);
  const theirs = await latency({ ...open, port: peer.port, requests: requestsTo(peer, buyers) }, perSecond, {});
  await peer.settle(answersOf(theirs.result));
  return {
    latencyPerSecond: perSecond,
    p50Ms: mine.p50Ms,
    p99Ms: mine.p99Ms,
    referenceP50Ms: theirs.p50Ms,
    referenceP99Ms: theirs.p99Ms,
    curves: [
      latencyCurve([
        { name: "ours", latency: mine },
        { name: "the peer", latency: theirs },
      ]),
    ],
  };
};

const compare = async (
  bench: Bench,
  whole: Whole,
  name: string,
  entry: string,
  peer: Peer,
  entries: Record<string, Entry>,
): Promise<void> => {
  const shared = {
    reference: name,
    generator: generatorOf(bench, { connections: CONNECTIONS, pipelining: 1 }),
    durability: `ours: Redis appendfsync always, the order in Postgres within moments; peer: ${peer.durability}`,
  };
  if (bench.wants(entry)) {
    await peerWins(bench, peer, WARM_UP_S, whole.folder);
    const outcome = await interleaved({
      runs: bench.runs,
      ours: () => ourWins(bench, whole, bench.runSeconds),
      reference: () => peerWins(bench, peer, bench.runSeconds, whole.folder),
    });
    bench.goOn();
    entries[entry] = entryOf({
      ...shared,
      ...outcome,
      ...(await latencies(bench, whole, peer, outcome.referencePerSecond ?? 0)),
      what: "a new buyer buys and wins; ours with everything behind it running",
      unit: "wins",
    });
  }
  if (bench.wants(refusals(entry))) {
    await peer.restock(0);
    const path = peer.knowsBuyers ? "/buy/late" : "/buy";
    const side = async (port: number, to: string, watched: () => ReturnType<Peer["watched"]>, seconds: number): Promise<Sent> => {
      bench.step(`refusals: ${port === peer.port ? "the peer" : "ours"}`);
      return refused(
        await sendTo(bench, { port, requests: { kind: "same", method: "POST", path: to }, seconds }, await watched(), whole.folder),
      );
    };
    await side(peer.port, path, () => peer.watched(), WARM_UP_S);
    const outcome = await interleaved({
      runs: bench.runs,
      ours: () => side(whole.port, latePath(whole), () => whole.watched(), bench.runSeconds),
      reference: () => side(peer.port, path, () => peer.watched(), bench.runSeconds),
    });
    entries[refusals(entry)] = entryOf({ ...shared, ...outcome, what: "a buyer asks a sale that is sold out", unit: "refusals" });
  }
};

export const peers: Scenario = {
  entries: PEERS.flatMap(({ entry }) => [entry, refusals(entry)]),
  run: async (bench, entries) => {
    const whole = await startWhole(bench, { shards: 1 });
    try {
      await sellOut(whole);
      await ourWins(bench, whole, WARM_UP_S);
      for (const { entry, name, start } of PEERS) {
        if (!bench.wants(entry) && !bench.wants(refusals(entry))) continue;
        bench.goOn();
        bench.step(`starting ${name}`);
        const run = await beginRun({ environment: bench.environment, say: () => undefined });
        try {
          const peer = await start(run);
          if (typeof peer === "string") bench.skip(`${entry}: ${peer}`);
          else await compare(bench, whole, name, entry, peer, entries);
        } finally {
          await run.end();
        }
      }
    } finally {
      await whole.stop();
    }
  },
};
