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
