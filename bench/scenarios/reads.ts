import { requestText } from "../load/prepared-requests.ts";
import type { Scenario } from "../scenario.ts";
import { bareAnswerOf, rawAnswer } from "../servers/answer-bytes.ts";
import { startBare } from "../servers/bare.ts";
import { startFront } from "../servers/front.ts";
import { againstBare } from "./against-bare.ts";

const ENTRY = "reads";
const SALE = "reads";

/** What everybody polls before the opening: the sale's cached bytes with ETag and the server's time. */
export const reads: Scenario = {
  entries: [ENTRY],
  run: async (bench, entries) => {
    const front = await startFront({ ...bench, say: (line) => bench.step(line), shards: 1, processes: 1, appendfsync: "always" });
    try {
      await front.openSale(SALE, 1_000);
      const path = `/sales/${SALE}`;
      const answer = await rawAnswer(front.port, requestText("GET", path, `${front.host}:${front.port}`));
      const bare = await startBare(front.run, bareAnswerOf(answer), 1);
      const watched = await front.watched();
      entries[ENTRY] = await againstBare(
        {
          bench,
          front,
          bare,
          watched,
          path,
          name: "GET /sales/:id",
          what: "the sale's page data",
          unit: "reads",
          method: "GET",
          code: undefined,
          isRefusal: false,
        },
        1,
      );
    } finally {
      await front.stop();
    }
  },
};
