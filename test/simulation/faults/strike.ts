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
  });
};

const restartRedis = (world: World, { shard, lost, ms }: Fault): void => {
  const server = world.node(shard).current;
  const taken = Math.min(lost, server.journal.length);
  if (taken > 0) world.lossy.add(shard);
  server.restart(ms, taken);
};

const strikeProcess = (world: World, fault: Fault, process: Process): void => {
  if (fault.kind === FaultKind.crash) process.crash(fault.ms);
  else if (fault.kind === FaultKind.pause) process.pause(fault.ms);
  else world.cut(process, fault.target, fault.ms);
};

/** @param caller who made the call at which a trap was set */
export const strike = (world: World, fault: Fault, caller?: Process, call?: TrappedCall): void => {
  const { kind, shard, ms, lost } = fault;
  const named = caller ?? world.processes.find(({ name }) => name === fault.process);
  world.count(kind);
  world.say(() => `FAULT ${kind} ${named?.name ?? ""} shard ${shard}, ${Math.round(ms)} ms, lost ${lost}`);
  switch (kind) {
    case FaultKind.crash:
    case FaultKind.pause:
    case FaultKind.cut:
      if (named !== undefined) strikeProcess(world, fault, named);
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
      return;
    case FaultKind.redisFailover:
      failover(world, fault);
      return;
    case FaultKind.redisClock:
      world.node(shard).current.aheadMs += ms;
      return;
    case FaultKind.processClock:
      if (named !== undefined) named.aheadMs += ms;
      return;
    case FaultKind.brokerRestart:
      if (world.broker.isUp) world.broker.restart(ms, lost);
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
      world.kernel.at(fault.atMs, () => strike(world, fault));
      continue;
    }
    const id = ids.get(trap.op);
    if (id === undefined) continue;
    world.kernel.at(fault.atMs, () => {
      const set: Trap = {
        countdown: trap.nth,
        when: trap.when,
        spring: (caller, call) => {
          strike(world, fault, caller, call);
          return fault.kind === FaultKind.crash || (fault.kind === FaultKind.late && trap.when === "before");
        },
      };
      world.traps[id] = [...(world.traps[id] ?? []), set];
    });
  }
};
