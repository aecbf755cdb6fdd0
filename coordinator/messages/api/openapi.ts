import {
  branchSchema,
  bulkAnswerSchema,
  failureSchema,
  faultSchema,
  foundSchema,
  messagesPageSchema,
  newGidSchema,
  ongoingSchema,
  resetAnswerSchema,
  stateSchema,
  successSchema,
  timeSchema,
  transactionSchema,
  versionSchema,
} from "./answer-schemas.ts";
import { bulkDocumentSchema, gidSchema, namedSchema, prepareSchema, submitSchema } from "./message-schemas.ts";

/** What openapi.json says beside the routes of routes.ts. */
export const messageDocument = {
  info: {
    title: "Doorbuster coordinator: two-phase messages",
    version: "0.1.0",
    license: { name: "MIT", identifier: "MIT" },
    description:
      "dtm's HTTP API for two-phase messages (trans_type `msg`), so that its clients work with nothing changed but the address; dead letters and the bulk call are ours. Times are seconds; a fraction is allowed. Written by `npm run openapi` from the schemas that read the requests.",
  },
  servers: [{ url: "http://127.0.0.1:36789" }],
  security: [{ bearer: [] }, {}],
  securitySchemes: { bearer: { type: "http", scheme: "bearer", description: "Only if DOORBUSTER_COORDINATOR_TOKEN is set" } },
  named: {
    Gid: gidSchema,
    State: stateSchema,
    Time: timeSchema,
    Success: successSchema,
    Failure: failureSchema,
    Ongoing: ongoingSchema,
    Fault: faultSchema,
    Version: versionSchema,
    NewGid: newGidSchema,
    Named: namedSchema,
    Message: submitSchema,
    Prepare: prepareSchema,
    Bulk: bulkDocumentSchema,
    BulkAnswer: bulkAnswerSchema,
    Transaction: transactionSchema,
    Branch: branchSchema,
    Query: foundSchema,
    Page: messagesPageSchema,
    Reset: resetAnswerSchema,
  },
} as const;
