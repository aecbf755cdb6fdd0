import { CallRefused, OutcomeUnknown, type CoordinatorAnswer } from "../../../coordinator/messages/client/coordinator.ts";
import { Message, type MessageCalls } from "../../../coordinator/messages/client/message.ts";
import type { Life, Program } from "../kernel/process.ts";
import { op, Scene, Wire } from "../kernel/wire.ts";
import type { CoordinatorProgram } from "./coordinator.ts";
import type { MessageWorld } from "./world.ts";

const API = op("api call", Scene.messages);
const STATE = op("api state", Scene.messages);
const OWN_QUERY = op("client asks query", Scene.messages);
const API_MS = 3_000;
const TRIES = 3;
const URL_OF = "http://services";

/** The client's connection to some coordinator: what coordinator/messages/client/coordinator.ts does over HTTP, tries and time-outs included. */
const callsOf = (world: MessageWorld, life: Life): MessageCalls => {
  const wires = new Map<CoordinatorProgram, Wire>();
  const once = async (
    serve: (coordinator: CoordinatorProgram) => Promise<CoordinatorAnswer>,
    kind: typeof API,
  ): Promise<CoordinatorAnswer> => {
    const coordinator = world.kernel.draw.pick(world.coordinators);
    const wire = wires.get(coordinator) ?? new Wire(life, world, () => coordinator, API_MS);
    wires.set(coordinator, wire);
    const answer = wire.hold<CoordinatorAnswer>(kind, (exchange) => {
      void serve(coordinator).then((value) => exchange.answer(value));
      if (!world.kernel.draw.chance(world.weather.repeated)) return;
      world.count("call repeated");
      void serve(coordinator);
    });
    const deadline = life.clock.sleep(API_MS).then((): CoordinatorAnswer => ({ status: 504, body: {} }));
    return Promise.race([answer.catch((): CoordinatorAnswer => ({ status: 503, body: {} })), deadline]);
  };
  const settled = async (
    serve: (coordinator: CoordinatorProgram) => Promise<CoordinatorAnswer>,
    kind: typeof API,
  ): Promise<CoordinatorAnswer> => {
    for (let tried = 1; tried <= TRIES; tried += 1) {
      const answer = await once(serve, kind);
      if (answer.status === 200 || answer.status === 409 || answer.status === 425) return answer;
      if (answer.status < 500) throw new CallRefused(answer.status, "refused");
      await life.clock.sleep(100 * 2 ** tried);
    }
    throw new OutcomeUnknown("no answer");
  };
  return {
    call: async (call, body, how) => {
      if (how?.isPrepared !== true) return settled((coordinator) => coordinator.serve(call, body), API);
      try {
        return await settled((coordinator) => coordinator.serve("submitPrepared", { gid: body.gid }), API);
      } catch (error) {
        if (!(error instanceof CallRefused)) throw error;
        return settled((coordinator) => coordinator.serve(call, body), API);
      }
    },
    state: async (gid) => (await settled((coordinator) => coordinator.state(gid), STATE)).body["state"] as "prepared" | undefined,
    ask: (url) => {
      const gid = new URL(url).searchParams.get("gid") ?? "";
      const wire = new Wire(life, world, () => world.services, API_MS);
      return wire.call(OWN_QUERY, () => ({ success: 200, failure: 409, ongoing: 425, error: 500 })[world.services.ask(gid)]);
    },
  };
};

/** A purchase handler with the client that ships: buys for one buyer after the other, several at a time, until told to rest. */
export const buyerProgram = (world: MessageWorld, name: string): Program => ({
  name,
  start: (life) => {
    const calls = callsOf(world, life);
    const redis = world.participant.connection(new Wire(life, world, () => world.participant, 1_000));
    const { draw } = world.kernel;
    const buy = async (gid: string): Promise<void> => {
      const message = new Message(gid, calls).add(`${URL_OF}/order`, { gid });
      try {
        const sent = await message.doAndSubmit(`${URL_OF}/query`, async (barrier) => {
          const made = await barrier.checkAdjustAmount(redis, "stock", -1);
          if (draw.chance(0.2)) await life.clock.sleep(draw.logarithmic(1, 4_000));
          return made;
        });
        world.told(gid, sent);
      } catch (error) {
        if (!(error instanceof OutcomeUnknown) && !(error instanceof CallRefused)) world.fault(`${name} ${gid}`, error);
      }
    };
    const handler = async (): Promise<void> => {
      for (;;) {
        await life.clock.sleep(draw.logarithmic(1, 3_000));
        const gid = world.nextGid();
        if (gid !== undefined) await buy(gid);
      }
    };
    for (let i = 0; i < 3; i += 1) void handler();
  },
});
