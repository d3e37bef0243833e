// Records: messages by id, in a private and in a public table. The query parameter
// `scope` chooses tables of their own.

import { failure, notFound, parseQuery, recordId } from "./request";

export type Kind = "records" | "public:records";
export const privateRecords: Kind = "records";
export const publicRecords: Kind = "public:records";

/** The table of a kind, for the scope that the request names. */
export function tableFor(request: Request, kind: Kind): KvMap {
  const { scope } = parseQuery(request);
  return ccf.kv[scope === undefined ? kind : `${kind}-${scope}`];
}

const keyOf = (id: string | number): ArrayBuffer => ccf.strToBuf(String(id));

/** Returns the message of a record in a table, or undefined. */
export function messageIn(table: KvMap, id: string): string | undefined {
  const message = table.get(keyOf(id));
  return message === undefined ? undefined : ccf.bufToStr(message);
}

export function store(request: Request, kind: Kind, id: string | number, message: string): Response {
  tableFor(request, kind).set(keyOf(id), ccf.strToBuf(message));
  return { body: true };
}

function get(request: Request, kind: Kind): Response {
  const id = recordId(request);
  const msg = messageIn(tableFor(request, kind), id);
  return msg === undefined ? notFound(id) : { body: { msg } };
}

interface Entry {
  id: number;
  msg: string;
  record_claim?: boolean;
}

/** Reads the body {id, msg}; the answer is an error's when it is not that. */
export function readEntry(request: Request): { entry: Entry; refused?: undefined } | { entry?: undefined; refused: Response } {
  const entry = request.body.json();
  if (typeof entry.id !== "number" || !Number.isInteger(entry.id) || entry.id < 0) {
    return { refused: failure(400, "InvalidInput", "The record's id must be a whole number") };
  }
  if (typeof entry.msg !== "string" || entry.msg === "") {
    return { refused: failure(400, "InvalidInput", "Cannot record an empty log message") };
  }
  return { entry };
}

function post(request: Request, kind: Kind): Response {
  const { entry, refused } = readEntry(request);
  if (refused) return refused;
  if (kind === publicRecords && entry.record_claim) {
    ccf.rpc.setClaimsDigest(ccf.crypto.digest("SHA-256", ccf.strToBuf(entry.msg)));
  }
  return store(request, kind, entry.id, entry.msg);
}

function remove(request: Request, kind: Kind): Response {
  const id = recordId(request);
  const table = tableFor(request, kind);
  if (!table.has(keyOf(id))) return notFound(id);
  table.delete(keyOf(id));
  return { body: true };
}

function clear(request: Request, kind: Kind): Response {
  tableFor(request, kind).clear();
  return { body: true };
}

const count = (request: Request, kind: Kind): Response => ({ body: tableFor(request, kind).size });

export const getPrivate = (request: Request): Response => get(request, privateRecords);
export const getPublic = (request: Request): Response => get(request, publicRecords);
export const postPrivate = (request: Request): Response => post(request, privateRecords);
export const postPublic = (request: Request): Response => post(request, publicRecords);
export const deletePrivate = (request: Request): Response => remove(request, privateRecords);
export const deletePublic = (request: Request): Response => remove(request, publicRecords);
export const clearPrivate = (request: Request): Response => clear(request, privateRecords);
export const clearPublic = (request: Request): Response => clear(request, publicRecords);
export const countPrivate = (request: Request): Response => count(request, privateRecords);
export const countPublic = (request: Request): Response => count(request, publicRecords);

/** Stores a body that is plain text, under the id in the path. */
export function postRawText(request: Request): Response {
  const type = request.headers["content-type"];
  if (type !== "text/plain") {
    return failure(415, "InvalidHeaderValue", "Expected content-type 'text/plain'. Got '" + type + "'.");
  }
  return store(request, privateRecords, request.params.id, request.body.text());
}
