// What handlers take from a request, and the answers they share.

/** Returns the parameters of a query string, undecoded, as the service decodes it. */
export function parseQuery(request) {
  const parameters = {};
  for (const pair of request.query.split("&")) {
    const at = pair.indexOf("=");
    if (at > 0) parameters[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return parameters;
}

/** Returns the id of the record asked for, as the text of a whole number. */
export function recordId(request) {
  const { id } = parseQuery(request);
  if (id === undefined) throw new Error("Missing query parameter 'id'");
  if (!/^[0-9]+$/.test(id)) throw new Error("Query parameter 'id' is not a number");
  return String(Number(id));
}

export function failure(statusCode, code, message) {
  return { statusCode, body: { error: { code, message } } };
}

export const notFound = (id) => failure(404, "ResourceNotFound", `No such record: ${id}`);
