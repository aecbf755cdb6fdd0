/** The queue between the shop and its worker. */
export const QUEUE = "orders";

export interface OrderJob {
  readonly uid: string;
}

export const ORDERS_TABLE = "CREATE TABLE IF NOT EXISTS orders (uid text PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now())";

/** BullMQ wants this of every connection. */
export const connectionOf = (redisUrl: string): { readonly host: string; readonly port: number; readonly maxRetriesPerRequest: null } => {
  const { hostname, port } = new URL(redisUrl);
  return { host: hostname, port: Number(port), maxRetriesPerRequest: null };
};
