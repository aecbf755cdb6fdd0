import { Events, type JetStreamClient, type JetStreamManager, type NatsConnection } from "nats";

/** No answer for this long is a fault of the broker; what was asked is asked again. */
const REQUEST_TIMEOUT_MS = 2_000;

/** A connection to the broker that knows which run of it it leads to. */
export interface Broker {
  readonly connection: NatsConnection;
  readonly client: JetStreamClient;
  readonly manager: JetStreamManager;
  /** changes with every start of the broker; empty while disconnected: what is sent then waits in the client and is sent late */
  id(): string;
  /** what this user may not do on this connection, as far as it was tried */
  denied(): readonly string[];
}

/** @param onConnect called whenever the connection is there again */
export const createBroker = async (connection: NatsConnection, onConnect: () => void): Promise<Broker> => {
  let isConnected = true;
  const denied = new Set<string>();
  const follow = async (): Promise<void> => {
    for await (const { type, permissionContext } of connection.status()) {
      if (permissionContext !== undefined) denied.add(`${permissionContext.operation} ${permissionContext.subject}`);
      if (type === Events.Disconnect) isConnected = false;
      if (type !== Events.Reconnect) continue;
      isConnected = true;
      denied.clear();
      onConnect();
    }
    isConnected = false;
  };
  void follow();
  const client = connection.jetstream({ timeout: REQUEST_TIMEOUT_MS });
  return {
    connection,
    client,
    manager: await connection.jetstreamManager({ timeout: REQUEST_TIMEOUT_MS, checkAPI: false }),
    denied: () => [...denied],
    id: () => (isConnected && !connection.isClosed() ? (connection.info?.server_id ?? "") : ""),
  };
};
