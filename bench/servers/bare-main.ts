import uWS from "uWebSockets.js";
import { bareAnswerSchema } from "./answer-bytes.ts";

/**
 * The limit that everything over HTTP is measured against: uWebSockets.js that answers every request with the same
 * prepared bytes and looks at nothing; or, with a third argument, that reads what nobody can refuse without having read, and
 * does nothing with it. Arguments: port, the answer as JSON.
 */
const [, , port = "", text = "", reads = ""] = process.argv;
const answer = bareAnswerSchema.parse(JSON.parse(text));
// As the engine does: status line and all headers in one write, from bytes.
const head = Buffer.from(answer.head, "latin1");
const body = Buffer.from(answer.body, "utf8");
let seen = 0;
const look = (name: string, value: string): void => {
  seen += name.length + value.length;
};

uWS
  .App()
  .get("/healthz", (res) => void res.end("ok"))
  .any(
    "/*",
    reads === ""
      ? (res) => {
          res.writeStatus(head);
          res.end(body);
        }
      : (res, req) => {
          req.forEach(look);
          look("", req.getUrl());
          res.writeStatus(head);
          res.end(body);
        },
  )
  .listen("127.0.0.1", Number(port), (socket) => {
    if (socket === false) throw new Error(`cannot listen on ${port}`);
  });

process.stdin.on("end", () => process.kill(process.pid, "SIGKILL")).resume();
