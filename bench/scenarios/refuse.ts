import { signTicket } from "../../gateway/index.ts";
import { keysOf, requestText } from "../load/prepared-requests.ts";
import { autocannonCommand, autocannonLoad, type AutocannonOrder } from "../load/autocannon.ts";
import { generatorOf, send, type Sent } from "../load/send.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { bareAnswerOf, rawAnswer, statusOf, type BareAnswer } from "../servers/answer-bytes.ts";
import { startBare, type Bare, type BareWork } from "../servers/bare.ts";
import { startFront, type Front } from "../servers/front.ts";
import { expectAnswered, answeredSince } from "../servers/answered.ts";
import { compared, interleaved } from "../trials.ts";
import { memoryOf, type Watched } from "../usage.ts";
import { againstBare, BARE, checked, CONNECTIONS, type Repeated } from "./against-bare.ts";

/** Refusals: what nearly everybody hears. Each is a request that the gateway answers without asking Redis. */
interface Kind {
  readonly entry: string;
  readonly what: string;
  readonly status: number;
  readonly code: string;
  /** what has to be done at least before such a request is refused, as an entry of its own */
  readonly least?: { readonly entry: string; readonly work: BareWork; readonly what: string };
  path(front: Front): string;
}

const SALE = "refuse";
const OPEN_SALE = "refuse-open";
const DAY_MS = 86_400_000;
const PIPELINED = 16;
/** autocannon needs this much to keep two servers busy (DESIGN 13). */
const AUTOCANNON = { method: "POST", connections: 64, pipelining: 32, workers: 2 } as const;
const WARM_UP_S = 1;

const ticketOf = (front: Front, saleId: string, uid: string): string =>
  signTicket(keysOf(front.ticketKeys), { saleId, uid, expiresAtMs: Date.now() + DAY_MS });

/** The last character of the signature is another one: everything but the signature is right. */
const forged = (ticket: string): string => ticket.slice(0, -1) + (ticket.endsWith("A") ? "B" : "A");

const KINDS: readonly Kind[] = [
  {
    entry: "refuse.soldOut",
    what: "a buyer who holds nothing asks a sale that is sold out",
    status: 409,
    code: "sold_out",
    least: { entry: "refuse.reading", work: "reads", what: "reads path and headers of the sold-out requests" },
    path: (front) => `/buy/${ticketOf(front, SALE, "late")}`,
  },
  {
    entry: "refuse.rateLimited",
    what: "a buyer asks an open sale far more often than a buyer may",
    status: 429,
    code: "rate_limited",
    path: (front) => `/buy/${ticketOf(front, OPEN_SALE, "often")}`,
  },
  {
    entry: "refuse.badTicket",
    what: "a ticket with a forged signature, for an open sale",
    status: 401,
    code: "ticket_invalid",
    least: {
      entry: "refuse.signing",
      work: "signs",
      what: "reads path and headers of the forged tickets, asks for the client's address and computes an HMAC over the path",
    },
    path: (front) => `/buy/${forged(ticketOf(front, OPEN_SALE, "forger"))}`,
  },
];

/** Asks until the gateway refuses as it should: the sold-out flag takes a moment, the bucket some tokens. */
const firstRefusal = async (front: Front, kind: Kind, path: string): Promise<string> => {
  const request = requestText("POST", path, `${front.host}:${front.port}`);
  for (let tries = 0; tries < 200; tries += 1) {
    const answer = await rawAnswer(front.port, request);
    if (statusOf(answer) === kind.status && answer.includes(`"${kind.code}"`)) return answer;
    await new Promise((resolve) => setTimeout(resolve, kind.code === "rate_limited" ? 0 : 25));
  }
  throw new Error(`the gateway never answered ${kind.code}`);
};

const byAutocannon = async ({ bench, front, bare, name, what, unit, path, code, watched }: Repeated): Promise<Entry> => {
  const order = (port: number, seconds: number): AutocannonOrder => ({
    ...AUTOCANNON,
    url: `http://${front.host}:${port}${path}`,
    seconds,
  });
  const side = (who: string, port: number, pids: Watched, seconds: number): Promise<Sent> => {
    bench.goOn();
    bench.step(`autocannon, ${name}: ${who}`);
    return autocannonLoad(order(port, seconds), pids).then((sent) => checked(sent, true));
  };
  await side("warm-up", front.port, watched, WARM_UP_S);
  const before = await front.answered();
  const ours = [];
  const reference = [];
  for (let run = 0; run < bench.runs; run += 1) {
    ours.push(await side("ours", front.port, watched, bench.runSeconds));
    reference.push(await side("bare", bare.port, bare.watched, bench.runSeconds));
  }
  expectAnswered(answeredSince(await front.answered(), before), [code ?? ""]);
  const outcome = compared(ours, reference);
  const generator = autocannonCommand(order(0, 0));
  bench.ceiling(generator, outcome.referencePerSecond ?? 0);
  return entryOf({
    ...outcome,
    generatorBusy: outcome.generatorBusy === null ? null : outcome.generatorBusy / AUTOCANNON.workers,
    what: `${what}; autocannon and the gateway share the machine`,
    unit,
    reference: BARE,
    generator,
    memoryBytes: await memoryOf(watched),
  });
};

/**
 * The most that anybody can reach who has to look at a request before he refuses it. `reads`: a server that reads path and
 * headers, as the engine must (which ticket; is it framed so that two readers agree where it ends), and does nothing with them.
 * `signs`: that also asks for the address, whose bucket pays for a forged ticket, and computes an HMAC over the path.
 */
const workAlone = async (
  { bench, front, path }: Pick<Repeated, "bench" | "front" | "path">,
  answer: BareAnswer,
  { work, what }: NonNullable<Kind["least"]>,
): Promise<Entry> => {
  const [working, bare] = [await startBare(front.run, answer, 1, work), await startBare(front.run, answer, 1)];
  const side = (who: string, { port, watched }: Bare, seconds: number): Promise<Sent> => {
    bench.step(`bare: ${who}`);
    const requests = { kind: "same", method: "POST", path } as const;
    const load = { host: front.host, port, requests, connections: CONNECTIONS, pipelining: PIPELINED, seconds };
    return send(bench, load, watched, front.run.folder);
  };
  await side("warm-up", working, WARM_UP_S);
  await side("warm-up of the reference", bare, WARM_UP_S);
  const outcome = await interleaved({
    runs: bench.runs,
    ours: () => side(work, working, bench.runSeconds),
    reference: () => side("nothing", bare, bench.runSeconds),
  });
  await working.stop();
  await bare.stop();
  return entryOf({
    ...outcome,
    what: `bare uWebSockets.js that ${what}, and nothing else; ${PIPELINED} on their way`,
    unit: "answers",
    reference: BARE,
    generator: generatorOf(bench, { connections: CONNECTIONS, pipelining: PIPELINED }),
  });
};

const openSales = async (front: Front): Promise<void> => {
  await front.openSale(SALE, 1);
  await front.openSale(OPEN_SALE, 1_000);
  // The only unit is sold, then the flag stands.
  const first = await rawAnswer(front.port, requestText("POST", `/buy/${ticketOf(front, SALE, "first")}`, front.host));
  if (statusOf(first) !== 202) throw new Error(`the only unit was not sold: ${first}`);
  front.flag([SALE]);
};

const AUTOCANNON_ENTRY = "refuse.autocannon";
const single = (entry: string): string => `${entry}.single`;

const measure = async (bench: Bench, processes: number, entries: Record<string, Entry>): Promise<void> => {
  const front = await startFront({ ...bench, say: (line) => bench.step(line), shards: 1, processes, appendfsync: "always" });
  try {
    await openSales(front);
    const watched = await front.watched();
    const ours = watched["gateway"]?.length ?? 0;
    for (const kind of KINDS) {
      const wanted = processes === 1 ? [kind.entry, single(kind.entry)].filter((entry) => bench.wants(entry)) : [];
      if (processes === 0 && kind === KINDS[0]) wanted.push(AUTOCANNON_ENTRY);
      const least = processes === 1 && kind.least !== undefined && bench.wants(kind.least.entry) ? kind.least : undefined;
      if (wanted.length === 0 && least === undefined) continue;
      const path = kind.path(front);
      const answer = bareAnswerOf(await firstRefusal(front, kind, path));
      if (least !== undefined) entries[least.entry] = await workAlone({ bench, front, path }, answer, least);
      // The gateway's first process only looks after the others.
      const bare = await startBare(front.run, answer, ours - 1);
      const { what, code } = kind;
      const shared = {
        bench,
        front,
        bare,
        watched,
        name: code,
        what,
        code,
        unit: "refusals",
        method: "POST",
        path,
        isRefusal: true,
      } as const;
      for (const entry of wanted)
        entries[entry] =
          entry === AUTOCANNON_ENTRY ? await byAutocannon(shared) : await againstBare(shared, entry === kind.entry ? PIPELINED : 1);
      await bare.stop();
    }
  } finally {
    await front.stop();
  }
};

/**
 * What a core can refuse: one gateway process against one bare one, so that the generator has the other core. And
 * autocannon against the default, one process a core.
 */
export const refuse: Scenario = {
  entries: [
    ...KINDS.map(({ entry }) => entry),
    ...KINDS.map(({ entry }) => single(entry)),
    ...KINDS.flatMap(({ least }) => least?.entry ?? []),
    AUTOCANNON_ENTRY,
  ],
  run: async (bench, entries) => {
    if (refuse.entries.some((entry) => entry !== AUTOCANNON_ENTRY && bench.wants(entry))) await measure(bench, 1, entries);
    if (bench.wants(AUTOCANNON_ENTRY)) await measure(bench, 0, entries);
  },
};
