import { hash } from "node:crypto";
import uWS, { type HttpRequest, type HttpResponse } from "uWebSockets.js";
import { bareAnswerSchema } from "./answer-bytes.ts";

/**
 * The limit that everything over HTTP is measured against: uWebSockets.js that answers every request with the same
 * prepared bytes and looks at nothing; or that does what nobody can refuse without having done, and nothing with what comes of it:
 * reads path and headers (`reads`), and for a forged ticket asks for the address whose bucket pays, and hashes (`signs`).
 * Arguments: port, the answer as JSON, what it does (BareWork).
 */
const [, , port = "", text = "", work = ""] = process.argv;
const answer = bareAnswerSchema.parse(JSON.parse(text));
// As the engine does: status line and all headers in one write, from bytes.
const head = Buffer.from(answer.head, "latin1");
const body = Buffer.from(answer.body, "utf8");
let seen = 0;
const look = (name: string, value: string): void => {
  seen += name.length + value.length;
};

const BLOCK = 64;
/** HMAC-SHA256 over prepared blocks, the cheapest way that Node has (gateway/identity/ticket.ts). */
const inner = Buffer.alloc(BLOCK + 256, 0x36);
const outer = Buffer.alloc(BLOCK + 32, 0x5c);
const sign = (path: string): string => {
  const length = inner.write(path, BLOCK, "latin1");
  outer.write(hash("sha256", inner.subarray(0, BLOCK + length), "binary"), BLOCK, "latin1");
  return hash("sha256", outer, "base64url");
};

const handlers: Readonly<Record<string, (res: HttpResponse, req: HttpRequest) => void>> = {
  reads: (_, req) => {
    req.forEach(look);
    look("", req.getUrl());
  },
  signs: (res, req) => {
    req.forEach(look);
    look(sign(req.getUrl()), String(res.getRemoteAddress().byteLength));
  },
};
const handle = handlers[work];
if (handle === undefined && work !== "nothing") throw new Error(`no such work: ${work}`);

uWS
  .App()
  .get("/healthz", (res) => void res.end("ok"))
  .any(
    "/*",
    handle === undefined
      ? (res) => {
          res.writeStatus(head);
          res.end(body);
        }
      : (res, req) => {
          handle(res, req);
          res.writeStatus(head);
          res.end(body);
        },
  )
  .listen("127.0.0.1", Number(port), (socket) => {
    if (socket === false) throw new Error(`cannot listen on ${port}`);
  });

process.stdin.on("end", () => process.kill(process.pid, "SIGKILL")).resume();
