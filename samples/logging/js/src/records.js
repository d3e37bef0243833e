// Records: messages by id, in a private and in a public table. The query parameter
// `scope` chooses tables of their own.

import { failure, notFound, parseQuery, recordId } from "./request.js";

export const privateRecords = "records";
export const publicRecords = "public:records";

/** The table of a kind, for the scope that the request names. */
export function tableFor(request, kind) {
  const { scope } = parseQuery(request);
  return ccf.kv[scope === undefined ? kind : `${kind}-${scope}`];
}

const keyOf = (id) => ccf.strToBuf(String(id));

/** Returns the message of a record in a table, or undefined. */
export function messageIn(table, id) {
  const message = table.get(keyOf(id));
  return message === undefined ? undefined : ccf.bufToStr(message);
}

export function store(request, kind, id, message) {
  tableFor(request, kind).set(keyOf(id), ccf.strToBuf(message));
  return { body: true };
}

function get(request, kind) {
  const id = recordId(request);
  const msg = messageIn(tableFor(request, kind), id);
  return msg === undefined ? notFound(id) : { body: { msg } };
}

/** Reads the body {id, msg}; the answer is an error's when it is not that. */
export function readEntry(request) {
  const entry = request.body.json();
  if (typeof entry.id !== "number" || !Number.isInteger(entry.id) || entry.id < 0) {
    return { refused: failure(400, "InvalidInput", "The record's id must be a whole number") };
  }
  if (typeof entry.msg !== "string" || entry.msg === "") {
    return { refused: failure(400, "InvalidInput", "Cannot record an empty log message") };
  }
  return { entry };
}

function post(request, kind) {
  const { entry, refused } = readEntry(request);
  if (refused) return refused;
  if (kind === publicRecords && entry.record_claim) {
    ccf.rpc.setClaimsDigest(ccf.crypto.digest("SHA-256", ccf.strToBuf(entry.msg)));
  }
  return store(request, kind, entry.id, entry.msg);
}

function remove(request, kind) {
  const id = recordId(request);
  const table = tableFor(request, kind);
  if (!table.has(keyOf(id))) return notFound(id);
  table.delete(keyOf(id));
  return { body: true };
}

function clear(request, kind) {
  tableFor(request, kind).clear();
  return { body: true };
}

const count = (request, kind) => ({ body: tableFor(request, kind).size });

export const getPrivate = (request) => get(request, privateRecords);
export const getPublic = (request) => get(request, publicRecords);
export const postPrivate = (request) => post(request, privateRecords);
export const postPublic = (request) => post(request, publicRecords);
export const deletePrivate = (request) => remove(request, privateRecords);
export const deletePublic = (request) => remove(request, publicRecords);
export const clearPrivate = (request) => clear(request, privateRecords);
export const clearPublic = (request) => clear(request, publicRecords);
export const countPrivate = (request) => count(request, privateRecords);
export const countPublic = (request) => count(request, publicRecords);

/** Stores a body that is plain text, under the id in the path. */
export function postRawText(request) {
  const type = request.headers["content-type"];
  if (type !== "text/plain") {
    return failure(415, "InvalidHeaderValue", "Expected content-type 'text/plain'. Got '" + type + "'.");
  }
  return store(request, privateRecords, request.params.id, request.body.text());
}
