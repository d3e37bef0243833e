// Documents, for those whose role allows it.

import { failure, needs, roleFor } from "./roles.js";

const documents = "documents";

const keyOf = (request) => ccf.strToBuf(request.params.id);
const missing = (request) => failure(404, "ResourceNotFound", `There is no document ${request.params.id}`);

const readDocument = needs("read", (request) => {
  const text = ccf.kv[documents].get(keyOf(request));
  return text === undefined ? missing(request) : { body: ccf.bufToStr(text) };
});

const writeDocument = needs("write", (request) => {
  ccf.kv[documents].set(keyOf(request), request.body.arrayBuffer());
  return { statusCode: 204 };
});

const removeDocument = needs("delete", (request) => {
  if (!ccf.kv[documents].has(keyOf(request))) return missing(request);
  ccf.kv[documents].delete(keyOf(request));
  return { statusCode: 204 };
});

const listDocuments = needs("read", () => ({
  body: ccf.chancery.kv.keys(ccf.kv[documents]).keys.map((key) => ccf.bufToStr(key)),
}));

export function allowed(request) {
  const role = roleFor(request.caller, request.params.action);
  return { body: role === undefined ? { allowed: false } : { allowed: true, role } };
}

export { readDocument as read, writeDocument as write, removeDocument as remove, listDocuments as list };
