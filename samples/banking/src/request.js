// What handlers take from a request, and the answers they share.

export function failure(statusCode, code, message) {
  return { statusCode, body: { error: { code, message } } };
}

/** The parameters of the query, which the service has decoded. */
export function parametersOf(request) {
  const parameters = {};
  for (const pair of request.query.split("&")) {
    const at = pair.indexOf("=");
    if (at > 0) parameters[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return parameters;
}

/** Reads a body {value, ...}; refused is the answer when it is not that. */
export function readValue(request) {
  let body;
  try {
    body = request.body.json();
  } catch (error) {
    return { refused: failure(400, "InvalidInput", `The body is no JSON: ${error.message}`) };
  }
  if (!Number.isSafeInteger(body?.value) || body.value <= 0) {
    return { refused: failure(400, "InvalidInput", "value must be a whole number above 0") };
  }
  return { body };
}
