import type { Process } from "../kernel/process.ts";
import { opsOf, Scene, type Trap, type TrappedCall } from "../kernel/wire.ts";
import { FaultKind, type Fault } from "../options.ts";
import { RedisServer } from "../redis/server.ts";
import type { World } from "../world.ts";

const failover = (world: World, { shard, lost, ms }: Fault): void => {
  const node = world.node(shard);
  const from = node.current;
  node.old?.end();
  const replica = from.replica(lost);
  world.lossy.add(shard);
  node.old = from;
  node.current = new RedisServer(world.kernel, from.name, from.rules, world.freshId, true, replica);
  node.current.aheadMs = from.aheadMs;
  // who hears of it late goes on with the old one, which knows nothing
  node.stale = new Set(world.processes.filter(() => world.kernel.draw.chance(0.5)));
  world.kernel.after(ms, () => {
    from.end();
    if (node.old === from) node.old = undefined;
    world.bus.redisBack(shard);
  });
  world.bus.redisBack(shard);
};

const restartRedis = (world: World, { shard, lost, ms }: Fault): void => {
  const server = world.node(shard).current;
  const taken = Math.min(lost, server.journal.length);
  if (taken > 0) world.lossy.add(shard);
  server.restart(ms, taken);
  world.kernel.after(ms, () => world.bus.redisBack(shard));
};

const injectIntoProcess = (world: World, fault: Fault, process: Process): void => {
  if (fault.kind === FaultKind.crash) process.crash(fault.ms);
  else if (fault.kind === FaultKind.pause) process.pause(fault.ms);
  else cut(world, process, fault);
};

const cut = (world: World, process: Process, { target, ms }: Fault): void => {
  world.cut(process, target, ms);
  world.kernel.after(ms, () => {
    if (target === "broker") world.bus.brokerBack(process);
    for (const { shard } of world.nodes) if (target === `redis${shard}`) world.bus.redisBack(shard, process);
  });
};

/** @param caller who made the call at which a trap was set */
const injectFault = (world: World, fault: Fault, caller?: Process, call?: TrappedCall): void => {
  const { kind, shard, ms, lost } = fault;
  const named = caller ?? world.processes.find(({ name }) => name === fault.process);
  world.count(kind);
  world.say(() => `FAULT ${kind} ${named?.name ?? ""} shard ${shard}, ${Math.round(ms)} ms, lost ${lost}`);
  switch (kind) {
    case FaultKind.crash:
    case FaultKind.pause:
    case FaultKind.cut:
      if (named !== undefined) injectIntoProcess(world, fault, named);
      return;
    case FaultKind.late:
      if (fault.trap?.when === "before") call?.delay(ms);
      else call?.silence();
      return;
    case FaultKind.redisRestart:
      restartRedis(world, fault);
      return;
    case FaultKind.redisWipe:
      world.lossy.add(shard);
      world.node(shard).current.wipe(ms);
      world.kernel.after(ms, () => world.bus.redisBack(shard));
      return;
    case FaultKind.redisFailover:
      failover(world, fault);
      return;
    case FaultKind.redisFull: {
      const { current } = world.node(shard);
      current.isFull = true;
      world.kernel.after(ms, () => {
        current.isFull = false;
      });
      return;
    }
    case FaultKind.redisClock:
      world.node(shard).current.aheadMs += ms;
      return;
    case FaultKind.processClock:
      if (named !== undefined) named.aheadMs += ms;
      return;
    case FaultKind.brokerRestart:
      if (!world.broker.isUp) return;
      world.broker.restart(ms, lost);
      world.kernel.after(ms, () => world.bus.brokerBack());
      return;
    case FaultKind.brokerFull:
      world.broker.isFull = true;
      world.kernel.after(ms, () => {
        world.broker.isFull = false;
      });
      return;
    case FaultKind.brokerRepeat:
      world.broker.repeat(shard, lost);
      return;
    case FaultKind.postgresRestart:
      if (world.postgres.isUp) world.postgres.restart(ms);
      return;
    default:
      throw new Error(`no such fault: ${String(kind satisfies never)}`);
  }
};

/** Plans a schedule's faults: by the clock, or as a trap at a call. */
export const planFaults = (world: World): void => {
  const ids = new Map(opsOf(Scene.shards).map(({ id, name }) => [name, id]));
  for (const fault of world.options.faults) {
    const { trap } = fault;
    if (trap === undefined) {
      world.kernel.at(fault.atMs, () => injectFault(world, fault));
      continue;
    }
    const id = ids.get(trap.op);
    if (id === undefined) continue;
    world.kernel.at(fault.atMs, () => {
      const set: Trap = {
        countdown: trap.nth,
        when: trap.when,
        spring: (caller, call) => {
          injectFault(world, fault, caller, call);
          return fault.kind === FaultKind.crash || (fault.kind === FaultKind.late && trap.when === "before");
        },
      };
      world.traps[id] = [...(world.traps[id] ?? []), set];
    });
  }
};
