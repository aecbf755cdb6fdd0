import type { Turn, WallClock } from "../buy/service-ports.ts";

export const systemWallClock: WallClock = {
  // oxlint-disable-next-line no-restricted-globals -- the real clock behind the port
  nowMs: () => Date.now(),
};

/** After the poll phase: everything that the sockets brought in this turn is in the batch. */
export const systemTurn: Turn = {
  // oxlint-disable-next-line no-restricted-globals -- the real event loop behind the port
  atEnd: (flush) => void setImmediate(flush),
};
