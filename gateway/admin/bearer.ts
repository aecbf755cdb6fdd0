import { createHash, timingSafeEqual } from "node:crypto";

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** @returns a check of an Authorization header that takes the same time for every wrong token of whatever length */
export const bearerCheck = (token: string): ((authorization: string | undefined) => boolean) => {
  const wanted = digest(token);
  return (authorization) => {
    const match = /^Bearer ([\x21-\x7e]+)$/i.exec(authorization ?? "");
    return timingSafeEqual(digest(match?.[1] ?? ""), wanted) && match !== null;
  };
};
