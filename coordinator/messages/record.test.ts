import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CorruptMessage, decodeRecord, encodeDefinition, encodeState, MessageState, type MessageRecord } from "./record.ts";

const ms = fc.nat();
const text = fc.string();
const arbitrary: fc.Arbitrary<MessageRecord> = fc.record({
  version: fc.integer({ min: 1 }),
  state: fc.constantFrom(...Object.values(MessageState)),
  definition: fc.record({
    steps: fc.array(text),
    branches: fc.array(fc.record({ branchId: text, url: text, payload: text })),
    queryUrl: text,
    branchHeaders: fc.dictionary(fc.stringMatching(/^[a-z]{1,9}$/), text),
    concurrent: fc.boolean(),
    waitResult: fc.boolean(),
    customData: text,
    delayMs: ms,
    timeoutToFailMs: ms,
    requestTimeoutMs: ms,
    retryIntervalMs: ms,
  }),
  branchDoneAtMs: fc.array(ms),
  rounds: ms,
  failures: ms,
  dead: fc.boolean(),
  createdAtMs: ms,
  updatedAtMs: ms,
  finishedAtMs: ms,
  reason: text,
});

const fieldsOf = (record: MessageRecord): { v: string; s: string; d: string; e: string } => ({
  v: String(record.version),
  s: encodeState(record),
  d: encodeDefinition(record.definition),
  e: record.reason,
});

describe("a message's record", () => {
  it("is read as it was written", () => {
    fc.assert(
      fc.property(arbitrary, (record) => {
        expect(decodeRecord("gid", fieldsOf(record))).toEqual(record);
      }),
    );
  });

  it.each([
    ["v", "0x"],
    ["s", "prepared"],
    ["s", "unheard 0 0 0 1 1 0 0"],
    ["s", "prepared 0 -1 0 1 1 0 0"],
    ["s", "prepared 0 0 0 1 1 0 0,x"],
    ["s", "prepared 0 0 0 9007199254740991 1 0 0"],
    ["s", "prepared 0 0 0 1 8640000000000001 0 0"],
    ["s", "prepared 1.5 0 0 1 1 0 0"],
    ["v", ""],
    ["d", "{"],
    ["d", ""],
    ["d", "null"],
    ["d", "7"],
    ["d", "{}"],
    ["d", '{"steps":[],"branches":{}}'],
    ["d", '{"steps":[7],"branches":[]}'],
    ["d", '{"steps":[],"branches":[null]}'],
    ["d", '{"steps":[],"branches":[{"branchId":"01","url":7,"payload":""}]}'],
    ["d", '{"steps":[],"branches":[],"queryUrl":null}'],
  ])("whose field %s is '%s' is refused: our code never writes that", (field, value) => {
    const [record] = fc.sample(arbitrary, 1);
    expect(() => decodeRecord("gid", { ...fieldsOf(record as MessageRecord), [field]: value })).toThrow(CorruptMessage);
  });
});
