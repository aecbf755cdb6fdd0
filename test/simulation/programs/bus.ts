import type { RestoreRequest } from "#protocol/requests";
import type { StatusEvent } from "#protocol/status";
import type { Restored } from "../../../coordinator/shards/shard-ports.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { Life, Process } from "../kernel/process.ts";
import { Step } from "../kernel/queue.ts";
import type { World } from "../world.ts";

/** Runs something in a life of a process, if it still lives then and when it is not paused. */
class Arrival extends Step {
  readonly #life: Life;
  readonly #work: () => void;

  constructor(life: Life, work: () => void) {
    super();
    this.#life = life;
    this.#work = work;
  }

  override run(): boolean {
    if (this.#life.isDead || this.#life.isDeferred(this)) return false;
    this.#work();
    return true;
  }
}

export const arrive = (kernel: Kernel, life: Life, ms: number, work: () => void): void =>
  kernel.plan(new Arrival(life, work), kernel.nowMs + ms);

/** Clients try to connect so often (connect.ts). */
const RECONNECT_MS = 350;

type RestoreServer = (request: RestoreRequest, progress: () => void) => Promise<Restored>;

/** Core NATS: status events, and requests that one of the workers answers. What is sent may get lost without a word. */
export class Bus {
  readonly #world: World;
  readonly #hearers = new Map<Life, (event: StatusEvent) => void>();
  readonly #workers = new Map<Life, RestoreServer>();
  readonly #movers = new Map<Life, (shard: number, saleId: string, units: number) => void>();

  readonly #brokerBack = new Map<Life, () => void>();
  readonly #redisBack = new Map<Life, (shard: number) => void>();

  constructor(world: World) {
    this.#world = world;
  }

  hear(life: Life, onStatus: (event: StatusEvent) => void): void {
    this.#hearers.set(life, onStatus);
  }

  serve(life: Life, restore: RestoreServer): void {
    this.#workers.set(life, restore);
  }

  hearDry(life: Life, onDry: (shard: number, saleId: string, units: number) => void): void {
    this.#movers.set(life, onDry);
  }

  hearBrokerBack(life: Life, onBack: () => void): void {
    this.#brokerBack.set(life, onBack);
  }

  hearRedisBack(life: Life, onBack: (shard: number) => void): void {
    this.#redisBack.set(life, onBack);
  }

  /** The broker can be reached again, by all or by one process: its clients connect anew, each when it tries next. */
  brokerBack(only?: Process): void {
    const { broker } = this.#world;
    this.#reconnect(this.#brokerBack, only, "broker", (onBack) => {
      if (broker.isUp) onBack();
    });
  }

  /** A shard's Redis can be reached again. */
  redisBack(shard: number, only?: Process): void {
    this.#reconnect(this.#redisBack, only, `redis${shard}`, (onBack) => {
      if (this.#world.node(shard).current.isUp) onBack(shard);
    });
  }

  #reconnect<Hearer>(hearers: ReadonlyMap<Life, Hearer>, only: Process | undefined, target: string, tell: (hearer: Hearer) => void): void {
    const { kernel } = this.#world;
    for (const [life, hearer] of hearers) {
      if (only !== undefined && life.process !== only) continue;
      arrive(kernel, life, kernel.draw.fraction() * RECONNECT_MS, () => {
        if (!this.#world.isCut(life.process, target)) tell(hearer);
      });
    }
  }

  forget(life: Life): void {
    this.#brokerBack.delete(life);
    this.#redisBack.delete(life);
    this.#movers.delete(life);
    this.#hearers.delete(life);
    this.#workers.delete(life);
  }

  publish(event: StatusEvent): void {
    this.#tell(this.#hearers, (onStatus) => onStatus(event));
  }

  /** A gateway tells the coordinators that units are wanted on a shard. */
  dry(from: Life, shard: number, saleId: string, units: number): void {
    if (!this.#world.isCut(from.process, "broker")) this.#tell(this.#movers, (onDry) => onDry(shard, saleId, units));
  }

  #tell<Hearer>(hearers: ReadonlyMap<Life, Hearer>, tell: (hearer: Hearer) => void): void {
    const { kernel, weather, broker } = this.#world;
    if (!broker.isUp) return;
    for (const [life, hearer] of hearers) {
      if (kernel.draw.chance(weather.lost * 4) || this.#world.isCut(life.process, "broker")) continue;
      const ms = kernel.draw.chance(weather.late * 4) ? kernel.draw.logarithmic(10, 5_000) : 0.3 + kernel.draw.fraction() * 3;
      arrive(kernel, life, ms, () => tell(hearer));
    }
  }

  /** A worker that would answer a request now; the broker asks one that is paused, too, and then nobody answers. */
  worker(): { readonly life: Life; readonly restore: RestoreServer } | undefined {
    const lives = [...this.#workers.keys()];
    if (lives.length === 0 || !this.#world.broker.isUp) return undefined;
    const life = this.#world.kernel.draw.pick(lives);
    const restore = this.#workers.get(life);
    return life.process.isPaused || restore === undefined ? undefined : { life, restore };
  }
}
