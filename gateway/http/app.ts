import uWS, { type TemplatedApp, type us_listen_socket } from "uWebSockets.js";

export type { TemplatedApp };

/** A listening port; `close` stops accepting and leaves open connections alone. */
export interface Listener {
  readonly port: number;
  close(): void;
}

export const createApp = (): TemplatedApp => uWS.App();

/** The port is shared (SO_REUSEPORT): a stale process that still holds it would take a part of the connections, unseen. */
export const listen = (app: TemplatedApp, host: string, port: number): Promise<Listener> =>
  new Promise((resolve, reject) => {
    app.listen(host, port, (socket: us_listen_socket | false) => {
      if (socket === false) {
        reject(new Error(`cannot listen on ${host}:${port}`));
        return;
      }
      let open = true;
      resolve({
        port: uWS.us_socket_local_port(socket),
        close: () => {
          if (open) uWS.us_listen_socket_close(socket);
          open = false;
        },
      });
    });
  });
