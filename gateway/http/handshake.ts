import type { HttpRequest } from "uWebSockets.js";
import { OutcomeCode } from "../buy/outcome.ts";
import type { Answer } from "./answer.ts";
import { problem } from "./problem.ts";

/** RFC 6455 4.1: 16 bytes in base64. The last character before the padding has four bits that are 0. */
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/;
const VERSION = "13";

const asked = { Upgrade: "websocket", Connection: "Upgrade", "Sec-WebSocket-Version": VERSION } as const;
const required = (detail: string): Answer => problem({ code: OutcomeCode.badRequest, detail }, 426, asked);

const noUpgrade = required(
  "Upgrade, Connection: this address speaks WebSocket only, asked for by `Upgrade: websocket` and `Connection: Upgrade`.",
);
const otherVersion = required(`Sec-WebSocket-Version: exactly one, and ${VERSION}.`);
const badKey = problem({ code: OutcomeCode.badRequest, detail: "Sec-WebSocket-Key: exactly one, 16 bytes in base64." });
const wrongMethod = problem({ code: OutcomeCode.badRequest, detail: "Only GET, OPTIONS here." }, 405, { Allow: "GET, OPTIONS" });

/** What a request says of the upgrade it asks for; several headers of one name are joined by a comma, as RFC 9110 reads them. */
interface Handshake {
  upgrade: string;
  connection: string;
  version: string;
  key: string;
}

const names: Readonly<Record<string, keyof Handshake>> = {
  upgrade: "upgrade",
  connection: "connection",
  "sec-websocket-version": "version",
  "sec-websocket-key": "key",
};

const readHandshake = (req: HttpRequest): Readonly<Handshake> => {
  const handshake: Handshake = { upgrade: "", connection: "", version: "", key: "" };
  req.forEach((name, value) => {
    const field = names[name];
    if (field !== undefined) handshake[field] = handshake[field] === "" ? value : `${handshake[field]},${value}`;
  });
  return handshake;
};

const lists = (header: string, token: string): boolean => header.split(",").some((item) => item.trim().toLowerCase() === token);

/**
 * uWebSockets.js upgrades whatever has a `Sec-WebSocket-Key` of 24 characters, and looks at nothing else.
 * @returns why it is no opening handshake (RFC 6455 4.2.1)
 */
export const refusalOfHandshake = (req: HttpRequest): Answer | undefined => {
  const method = req.getMethod();
  if (method !== "get") return method === "head" ? noUpgrade : wrongMethod;
  const { upgrade, connection, version, key } = readHandshake(req);
  if (!lists(upgrade, "websocket") || !lists(connection, "upgrade")) return noUpgrade;
  if (version !== VERSION) return otherVersion;
  return KEY.test(key) ? undefined : badKey;
};
