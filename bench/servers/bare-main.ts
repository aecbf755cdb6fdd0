import uWS from "uWebSockets.js";
import { bareAnswerSchema } from "./answer-bytes.ts";

/**
 * The limit that everything over HTTP is measured against: uWebSockets.js that answers every request with the same
 * prepared bytes and looks at nothing. Arguments: port, the answer as JSON.
 */
const [, , port = "", text = ""] = process.argv;
const answer = bareAnswerSchema.parse(JSON.parse(text));
// As the engine does: status line and all headers in one write, from bytes.
const head = Buffer.from(answer.head, "latin1");
const body = Buffer.from(answer.body, "utf8");

uWS
  .App()
  .get("/healthz", (res) => void res.end("ok"))
  .any("/*", (res) => {
    res.writeStatus(head);
    res.end(body);
  })
  .listen("127.0.0.1", Number(port), (socket) => {
    if (socket === false) throw new Error(`cannot listen on ${port}`);
  });

process.stdin.on("end", () => process.kill(process.pid, "SIGKILL")).resume();
