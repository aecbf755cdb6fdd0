import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import type { ConnectionOptions } from "node:tls";

/** Certificates in PEM files; what is left out is Node's: its own CAs, and no certificate of ours. */
export interface TlsFiles {
  /** of the CA that signed the server's certificate */
  readonly ca?: string | undefined;
  /** ours, for a server that asks for one, with its key */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

/** The environment variables of TLS to Redis. */
export const REDIS_TLS_SETTINGS = ["REDIS_CA_FILE", "REDIS_CERT_FILE", "REDIS_KEY_FILE"] as const;
export type RedisTlsSettings = { readonly [Name in (typeof REDIS_TLS_SETTINGS)[number]]?: string | undefined };

export const redisTls = ({ REDIS_CA_FILE: ca, REDIS_CERT_FILE: cert, REDIS_KEY_FILE: key }: RedisTlsSettings): TlsFiles => ({
  ca,
  cert,
  key,
});

/**
 * Options of a verified connection: a server whose certificate this CA did not sign, whose time is over, or that names another
 * host is refused. The files are read by whoever asks for an option, which ioredis and pg do at every connection: renewed
 * certificates need no restart.
 */
export const tlsOptions = (files: TlsFiles): ConnectionOptions => {
  const options: ConnectionOptions = { rejectUnauthorized: true };
  for (const name of ["ca", "cert", "key"] as const) {
    const file = files[name];
    if (file !== undefined) Object.defineProperty(options, name, { enumerable: true, get: () => readFileSync(file, "utf8") });
  }
  return options;
};

/** An address has no name to ask for (RFC 6066); the certificate must name it all the same. */
export const serverName = (host: string): { readonly host: string; readonly servername: string } => ({
  host,
  servername: isIP(host) === 0 ? host : "",
});

/**
 * pg's `ssl` for a server that this CA signed; undefined without a CA, where the URL says what is verified (`sslmode`).
 * @param url of the database: pg names no address to the verification by itself
 */
export const databaseTls = (url: string, caFile: string | undefined): ConnectionOptions | undefined => {
  if (caFile === undefined) return undefined;
  const options = tlsOptions({ ca: caFile });
  return URL.canParse(url) ? Object.defineProperty(options, "host", { enumerable: true, value: new URL(url).hostname }) : options;
};
