import autocannon from "autocannon";

/**
 * autocannon in a process of its own, so that its CPU time is told apart. Given its options by the first message; says
 * `begin` and sends the counts when it has ended.
 */
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
process.once("message", (options: autocannon.Options) => {
  process.send?.({ kind: "begin" });
  autocannon(options).then(
    (result) =>
      process.send?.({
        kind: "end",
        seconds: result.duration,
        count: result["1xx"] + result["2xx"] + result["3xx"] + result["4xx"] + result["5xx"],
        refused: result["4xx"] + result["5xx"],
        failed: result.errors,
      }),
    (error: unknown) => process.send?.({ kind: "broken", why: String(error) }),
  );
});
