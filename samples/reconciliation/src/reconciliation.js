// Parties compare their records without showing them to each other: each learns of its
// own records whether the others have the same, and nothing of what they have instead.

import { parametersOf, failure } from "./request.js";

// Both private. Parts of keys are percent-encoded, so that "/" parts them.
const values = "values"; // "id/party" -> value, as JSON
const owned = "owned"; // "party/id" -> nothing: whose records there are, in order

const keyOf = (...parts) => ccf.strToBuf(parts.map(encodeURIComponent).join("/"));
const under = (part) => ccf.strToBuf(`${encodeURIComponent(part)}/`);
const lastPart = (key) => decodeURIComponent(ccf.bufToStr(key).split("/").pop());

const mostRecords = 1000;

export function submit(request) {
  let body;
  try {
    body = request.body.json();
  } catch (error) {
    return failure(400, "InvalidInput", `The body is no JSON: ${error.message}`);
  }
  const records = body?.records;
  if (!Array.isArray(records) || records.length === 0 || records.length > mostRecords) {
    return failure(400, "InvalidInput", `records must be an array of 1 to ${mostRecords}`);
  }
  const wrong = records.findIndex((r) => typeof r?.id !== "string" || r.id === "" || typeof r.value !== "string");
  if (wrong >= 0) return failure(400, "InvalidInput", `records[${wrong}] must be {"id": text, "value": text}`);
  const party = request.caller.id;
  for (const { id, value } of records) {
    ccf.kv[values].set(keyOf(id, party), ccf.jsonCompatibleToBuf(value));
    ccf.kv[owned].set(keyOf(party, id), new ArrayBuffer(0));
  }
  return { statusCode: 204 };
}

/** How many parties have each value of a record. */
function countsOf(id) {
  const counts = new Map();
  for (const { value } of ccf.chancery.kv.range(ccf.kv[values], { prefix: under(id) }).entries) {
    const text = ccf.bufToJsonCompatible(value);
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  return counts;
}

/** The state of a party's record among those of all. */
function compare(id, party) {
  const value = ccf.bufToJsonCompatible(ccf.kv[values].get(keyOf(id, party)));
  const counts = countsOf(id);
  const parties = [...counts.values()].reduce((sum, n) => sum + n, 0);
  const same = counts.get(value);
  let state = "minority";
  if (parties === 1) state = "alone";
  else if (same === parties) state = "agreed";
  else if (2 * same > parties) state = "majority";
  return { id, value, state, parties };
}

export function report(request) {
  const party = request.caller.id;
  const { limit = "100", after } = parametersOf(request);
  if (!/^[1-9][0-9]*$/.test(limit) || Number(limit) > mostRecords) {
    return failure(400, "InvalidQueryParameterValue", `limit is a number from 1 to ${mostRecords}`);
  }
  const { keys, cursor } = ccf.chancery.kv.keys(ccf.kv[owned], {
    prefix: under(party),
    limit: Number(limit),
    cursor: after === undefined ? undefined : keyOf(party, after),
  });
  const records = keys.map((key) => compare(lastPart(key), party));
  return { body: cursor === undefined ? { records } : { records, after: lastPart(cursor) } };
}

export function reportOne(request) {
  const party = request.caller.id;
  let id;
  try {
    id = decodeURIComponent(request.params.id);
  } catch {
    return failure(400, "InvalidInput", "The id in the path is not percent-encoded UTF-8");
  }
  if (!ccf.kv[values].has(keyOf(id, party))) return failure(404, "ResourceNotFound", "You have no such record");
  return { body: compare(id, party) };
}

export function summary() {
  const count = { alone: 0, agreed: 0, disputed: 0 };
  let id; // of the record that is being counted, and what its parties say
  let said = [];
  const close = () => {
    if (said.length === 1) count.alone++;
    else if (said.length > 1) count[said.every((v) => v === said[0]) ? "agreed" : "disputed"]++;
  };
  for (const { key, value } of ccf.chancery.kv.range(ccf.kv[values]).entries) {
    const next = ccf.bufToStr(key).split("/")[0];
    if (next !== id) {
      close();
      [id, said] = [next, []];
    }
    said.push(ccf.bufToStr(value));
  }
  close();
  return { body: count };
}
