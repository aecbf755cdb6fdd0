import type { Clock, Random } from "#protocol/ports";
import type { Callable } from "#program/callable-hosts";
import type { Caller, Leases, MessageStore, MessageWatch } from "./message-ports.ts";
import { Messages, type ListedMessages } from "./messages.ts";
import { Placement, type PlacementStore } from "./placement.ts";
import { MessageRunner, type RunnerOptions } from "./runner.ts";

export interface MessagesPorts {
  readonly store: MessageStore & ListedMessages & PlacementStore;
  readonly caller: Caller;
  readonly leases: Leases;
  readonly watch: MessageWatch;
  readonly callable: (url: string) => Callable;
  readonly clock: Clock;
  readonly random: Random;
}

export interface MessagesPolicy extends RunnerOptions {
  /** shards that can be reached */
  readonly shards: number;
  /** new messages are placed on the first so many of them */
  readonly placedOn: number;
}

/** The two-phase messages of one coordinator. */
export interface MessagesPart {
  /** the calls of the API */
  readonly messages: Messages;
  readonly placement: Placement;
  /** messages that are worked on now */
  inFlight(): number;
  /** Delivers and asks back until `stop`; then waits a moment for the calls on the wire. */
  run(stop: AbortSignal): Promise<void>;
}

/** Places, delivers and asks back: what the program runs, and the simulation. */
export const composeMessages = (ports: MessagesPorts, policy: MessagesPolicy): MessagesPart => {
  const { store, clock } = ports;
  const placement = new Placement(store, { shards: policy.shards, count: policy.placedOn, clock });
  const runner = new MessageRunner(ports, policy);
  const messages = new Messages({
    store,
    placement,
    policy: policy.policy,
    clock,
    kick: (shard, gid, applied) => runner.kick(shard, gid, applied),
  });
  return {
    messages,
    placement,
    inFlight: () => runner.inFlight,
    run: async (stop) => {
      await Promise.all([placement.run(stop), runner.run(placement.shards, stop)]);
    },
  };
};
