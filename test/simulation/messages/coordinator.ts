import { answerTo } from "../../../coordinator/messages/api/answer.ts";
import { read, readDefinition } from "../../../coordinator/messages/api/message-body.ts";
import { prepareSchema, submitSchema } from "../../../coordinator/messages/api/message-schemas.ts";
import type { CoordinatorAnswer } from "../../../coordinator/messages/client/coordinator.ts";
import type { Verdict } from "../../../coordinator/messages/machine.ts";
import { composeMessages, type MessagesPorts } from "../../../coordinator/messages/compose.ts";
import type { Messages } from "../../../coordinator/messages/messages.ts";
import { YIELD_MS, type PlacementStore } from "../../../coordinator/messages/placement.ts";
import type { Answered, Caller, MessageStore } from "../../../coordinator/messages/message-ports.ts";
import type { RunnerOptions } from "../../../coordinator/messages/runner.ts";
import { Lease } from "../../../coordinator/shards/lease.ts";
import { Status } from "#lua/core/codes";
import type { Life, Program } from "../kernel/process.ts";
import { op, Scene, Wire, type Target } from "../kernel/wire.ts";
import type { MessageShard } from "./shard.ts";
import type { MessageWorld } from "./world.ts";

const LEASE = op("lease", Scene.messages);
const TIME = op("time", Scene.messages);
const CREATE = op("message create", Scene.messages);
const YIELD = op("message yield", Scene.messages);
const CHANGE = op("message change", Scene.messages);
const READ = op("message read", Scene.messages);
const CLAIM = op("message claim", Scene.messages);
const NOTE = op("message placement", Scene.messages);
const BRANCH = op("call branch", Scene.messages);
const ASK = op("call query", Scene.messages);

const LEASE_MS = 3_000;
const COMMAND_MS = 2_000;
const REQUEST_MS = 1_000;
const POLICY: RunnerOptions = {
  policy: { queryAfterMs: 1_000, retryMs: 400, backoffMostMs: 3_000, rounds: 10_000, retentionMs: 86_400_000 },
  pollMs: 150,
  batch: 100,
  holdMs: 3_000,
  hostCalls: 4,
  hostWaiting: 100,
  inFlightMost: 100,
  requestTimeoutMs: REQUEST_MS,
  alertUrl: "",
};

/** The store ports over the network, the clock of each shard learnt from its answers as in redis-store.ts. */
const storeOf = (world: MessageWorld, life: Life): MessageStore & PlacementStore => {
  const wires = world.shards.map((shard) => new Wire(life, world, () => shard, COMMAND_MS));
  const aheadMs = new Map<number, number>();
  const at = (number: number): { shard: MessageShard; wire: Wire } => ({
    shard: world.shards[number] as MessageShard,
    wire: wires[number] as Wire,
  });
  const heard = (shard: number, nowMs: number): void => void aheadMs.set(shard, nowMs - life.clock.monotonicMs());
  const store: MessageStore & PlacementStore = {
    nowMs: async (number) => {
      const ahead = aheadMs.get(number);
      if (ahead !== undefined) return Math.round(life.clock.monotonicMs() + ahead);
      const { shard, wire } = at(number);
      heard(number, await wire.call(TIME, () => shard.nowMs));
      return store.nowMs(number);
    },
    create: (number, gid, change, untilMs) => at(number).wire.call(CREATE, () => at(number).shard.create(gid, change, untilMs)),
    yield: (number, gid, count) => at(number).wire.call(YIELD, () => at(number).shard.yield(gid, count, YIELD_MS)),
    change: (number, gid, before, change) => at(number).wire.call(CHANGE, () => at(number).shard.change(gid, before, change)),
    read: async (number, gids) => (gids.length === 0 ? [] : at(number).wire.call(READ, () => at(number).shard.read(gids))),
    // nothing is ever put off: a host of the simulation has room for all its messages
    claim: async (number, limit, holdMs) => {
      const { shard, wire } = at(number);
      const [nowMs, gids] = await wire.call(CLAIM, () => [shard.nowMs, shard.claim(limit, holdMs)] as const);
      heard(number, nowMs);
      return { gids, dueAgainMs: nowMs + holdMs };
    },
    purge: async () => 0,
    notePlacement: async (number, count, marginMs) => {
      const notes = await at(number).wire.call(NOTE, () => at(number).shard.notePlacement(count, marginMs));
      heard(number, notes.nowMs);
      return notes;
    },
  };
  return store;
};

/** Calls of branches and query URLs; what they do happens at once when they arrive. */
const callerOf = (world: MessageWorld, life: Life, leases: readonly Lease[]): Caller => {
  const wire = new Wire(life, world, () => world.services, REQUEST_MS);
  return {
    call: ({ url }): Promise<Answered> => {
      const query = new URL(url).searchParams;
      const gid = query.get("gid") ?? "";
      world.callStarts(gid, (shard) => leases[shard]?.token ?? "");
      const answer =
        query.get("op") === "msg"
          ? wire.call<Verdict>(ASK, () => world.services.ask(gid))
          : wire.call<Verdict>(BRANCH, () => world.services.deliver(gid));
      return answer.then(
        (verdict) => ({ verdict, reason: verdict }),
        (error: unknown) => ({ verdict: "error", reason: String(error) }),
      );
    },
  };
};

/** One coordinator with the code that ships, from the API's bodies to the calls of branches. Each life may have another number of shards. */
export class CoordinatorProgram implements Program, Target {
  readonly name: string;
  readonly #world: MessageWorld;
  run = 0;
  #life: Life | undefined;
  #messages: Messages | undefined;

  constructor(world: MessageWorld, name: string) {
    this.#world = world;
    this.name = name;
  }

  get isUp(): boolean {
    return this.#life?.isDead === false;
  }

  start(life: Life): void {
    const world = this.#world;
    this.#life = life;
    this.run += 1;
    const { clock, random } = life;
    const count = world.countOf();
    world.say(() => `${this.name} places by ${count}`);
    const store = storeOf(world, life);
    const leases = world.shards.map((shard) => {
      const wire = new Wire(life, world, () => shard, COMMAND_MS);
      const acquireLease = async (token: string, leaseMs: number): Promise<{ status: "ok" | "stale" }> => ({
        status: (await wire.call(LEASE, () => shard.acquire(token, leaseMs))) ? Status.ok : Status.stale,
      });
      const leaseStore = { acquireLease, releaseLease: acquireLease } as unknown as ConstructorParameters<typeof Lease>[0]["store"];
      return new Lease({ leaseMs: LEASE_MS, store: leaseStore, clock, random, fault: () => undefined });
    });
    const keep = async (lease: Lease): Promise<void> => {
      for (;;) {
        if (await lease.acquire()) await lease.hold(new AbortController());
        await clock.sleep(LEASE_MS / 6);
      }
    };
    const composed = composeMessages(
      {
        // the API's lists are not called here
        store: store as MessageStore as MessagesPorts["store"],
        caller: callerOf(world, life, leases),
        leases: { holds: (shard) => !world.rules.minds || leases[shard]?.isHeld === true },
        clock,
        random,
        callable: (url) => ({ ok: true, url: new URL(url) }),
        watch: {
          called: () => undefined,
          dead: (_shard, gid) => world.violate("DEAD", gid),
          troubled: (_shard, doing, error) => world.fault(`${this.name} ${doing}`, error),
        },
      },
      { ...POLICY, shards: world.shards.length, placedOn: count },
    );
    this.#messages = composed.messages;
    for (const lease of leases) void keep(lease);
    void composed.run(life.stop);
  }

  /** Answers a call of the API, when it is this process's turn; never, if it dies meanwhile. */
  async serve(
    call: "prepare" | "submit" | "submitPrepared" | "abort",
    body: Readonly<Record<string, unknown>>,
  ): Promise<CoordinatorAnswer> {
    const life = this.#life as Life;
    const messages = this.#messages as Messages;
    await life.clock.sleep(0);
    try {
      if (call === "abort" || call === "submitPrepared") {
        const event =
          call === "abort" ? ({ type: "abort", reason: "aborted" } as const) : ({ type: "submit", definition: undefined } as const);
        const { reply, record } = await messages.handle(String(body["gid"]), event);
        return answerTo(reply, record);
      }
      const fields = read(call === "prepare" ? prepareSchema : submitSchema, body);
      const definition = await readDefinition(
        fields,
        (url) => ({ ok: true, url: new URL(url) }),
        async () => [],
      );
      const { reply, record } = await messages.handle(fields.gid, { type: call, definition });
      return answerTo(reply, record);
    } catch (error) {
      this.#world.fault(`${this.name} ${call}`, error);
      return { status: 500, body: {} };
    }
  }

  async state(gid: string): Promise<CoordinatorAnswer> {
    const life = this.#life as Life;
    const messages = this.#messages as Messages;
    await life.clock.sleep(0);
    try {
      const found = await messages.find(gid);
      return { status: 200, body: { state: found?.record.state } };
    } catch {
      return { status: 500, body: {} };
    }
  }
}
